"""`python -m benchmarks`: measure, and say what was measured, on what, against what."""

import sys

from benchmarks import throughput
from benchmarks.frame import Frame, best_loop
from pathlib import Path
import tempfile

frame = Frame(Path(tempfile.mkdtemp()), best_loop() if "--asyncio" not in sys.argv else "asyncio", "--quick" in sys.argv)
print("\n".join(throughput.show(throughput.measure(frame))))
