"""A real choreography: how municipalities received applications for permits, and who notices what did not happen.

Desks and systems react to one another, and nobody owns the sequence. `replay.py` is the application, and the first code
to read: it publishes what has happened in virtual time, each event at its own time, while expectations watch the log.
Run it with ``python -m examples.permit_receipt``.
"""
