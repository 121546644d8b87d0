"""The project's own tools: what `make check` runs beside ruff, the type checkers and pytest."""
