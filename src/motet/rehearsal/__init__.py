"""Recorded histories against code, without a worker: nothing is run that has an effect, and nothing is written."""
