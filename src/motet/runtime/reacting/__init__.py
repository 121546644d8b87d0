"""Deliveries: events of the log to the reactions of an app, each by one worker at a time."""
