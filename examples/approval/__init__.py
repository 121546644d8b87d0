"""A person in the loop: a purchase that waits, for as long as it takes, until somebody says yes or no.

`buying.py` is the workflow, and the first code to read. Run it with ``python -m examples.approval``, and answer from
another terminal with ``motet publish approval.given --to purchase-42``.
"""
