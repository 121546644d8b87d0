"""What lives long: the worker and its parts."""
