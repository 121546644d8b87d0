"""A user's module that cannot be imported."""

from json import no_such_name  # noqa: F401 - that is the point
