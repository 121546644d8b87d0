"""Orders over HTTP with Flask and the synchronous face: see README.md."""
