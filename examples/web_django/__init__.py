"""Orders over HTTP with Django and the synchronous face: see README.md."""
