"""Where everything durable is kept. The packages below are the only code that speaks SQL."""
