"""The specification of letting go and of payloads in place (`motet.store.retention` and `payloads`), as a suite."""

from __future__ import annotations

from motet.testing.conformance.payloads import PayloadsInPlace
from motet.testing.conformance.pruning import PruningRuns, PruningTheLog


class RetentionConformance(PruningRuns, PruningTheLog, PayloadsInPlace):
    """All of it. A subclass gives the fixture `address`."""
