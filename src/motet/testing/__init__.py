"""What Motet's own tests use and yours may: virtual time, steps alone, faults on demand, the store's specification.

Nothing here is imported by the rest of the package. `motet.testing.conformance` needs pytest with pytest-asyncio.
"""

from motet.testing.attempts import attempt_of
from motet.testing.blocking import BlockingKit
from motet.testing.kit import Kit
from motet.testing.virtual import virtual

__all__ = ["virtual", "Kit", "BlockingKit", "attempt_of"]
