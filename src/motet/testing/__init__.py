"""What Motet's own tests use and yours may: steps alone, faults on demand, and the store's specification.

Nothing here is imported by the rest of the package. `motet.testing.conformance` needs pytest with pytest-asyncio.
"""

from motet.testing.attempts import attempt_of

__all__ = ["attempt_of"]
