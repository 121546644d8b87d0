"""Buying a course: charge a card, take a seat, and undo what was done when the rest fails.

`shop.py` is the application, and the first code to read. Around it stands everything that proves it: a ledger
process that plays the outside world and misbehaves on request, a worker that gets killed, and a check of the
outcome that believes the ledger and never Motet's own records. Run it with ``motet demo``, or with
``python -m examples.course_purchase``.
"""
