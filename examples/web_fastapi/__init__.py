"""Orders over HTTP with FastAPI and SQLAlchemy: see README.md."""
