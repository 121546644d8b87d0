"""The specification of letting go and of payloads in place (`motet.store.retention` and `payloads`), as a suite."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("motet.testing.conformance.payloads", "motet.testing.conformance.pruning")

from motet.testing.conformance.payloads import PayloadsInPlace  # noqa: E402 - asserts are rewritten before that
from motet.testing.conformance.pruning import PruningRuns, PruningTheLog  # noqa: E402


class RetentionConformance(PruningRuns, PruningTheLog, PayloadsInPlace):
    """All of it. A subclass gives the fixture `address`."""
