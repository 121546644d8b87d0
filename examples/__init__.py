"""Runnable examples: each folder is one small application that uses only Motet's public interface."""
