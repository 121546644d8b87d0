"""The conversation: every run, step, event and reaction that belongs together, in one view, whoever drove it."""
