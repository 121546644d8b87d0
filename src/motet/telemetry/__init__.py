"""What others may measure: it listens to hooks, and nothing below knows of it."""
