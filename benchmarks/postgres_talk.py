"""How much a worker says to PostgreSQL: statements and round trips per run, counted by a proxy between the two.

A round trip is a ReadyForQuery of the server: whoever waits for it can send nothing else on that connection meanwhile.
This is for counting only; the proxy takes its time.
"""

from urllib.parse import urlsplit, urlunsplit

from benchmarks.driving import Crowd
from benchmarks.frame import Found
from tests.chaos.faults.proxy import Proxy


async def drive(given: Found) -> Found:
    """The probe: `store`, `in_flight`, `seconds`."""
    parts = urlsplit(given["store"])
    assert parts.port is not None and parts.hostname is not None
    proxy = await Proxy(parts.port, parts.hostname).start()
    through = urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.hostname}:{proxy.port}"))
    crowd = Crowd(through)
    before = {}
    after = {}
    async with crowd.app.worker():
        found = await crowd.drive(
            given["in_flight"],
            1.0,
            given["seconds"],
            lambda: before.update(proxy.counts),
            lambda: after.update(proxy.counts),
        )
    await proxy.close()
    return {
        f"{what.replace(' ', '_')}_per_run": (after[what] - before[what]) / found["runs"]
        for what in ("statements", "round trips")
    }
