"""Connections that are the user's: which library they are of, and how they are asked.

One file per family. None imports its library: that is here already when the user has an object of it, and need not be
installed when not. Nothing here knows what is asked, nor begins or ends a transaction.
"""
