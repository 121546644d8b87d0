"""`python -m benchmarks`: measure, and say what was measured, on what, against what."""

import sys

from benchmarks import throughput, profiling
from benchmarks.frame import Frame, best_loop
from pathlib import Path
import tempfile

frame = Frame(Path(tempfile.mkdtemp()), best_loop() if "--asyncio" not in sys.argv else "asyncio", "--quick" in sys.argv)
what = profiling if "--profile" in sys.argv else throughput
print("\n".join(what.show(what.measure(frame))))
