"""How much a worker says to PostgreSQL: statements and round trips per run, counted by a proxy between the two.

A round trip is a ReadyForQuery of the server: whoever waits for it can send nothing else on that connection meanwhile.
This is for counting only; the proxy takes its time.
"""

from urllib.parse import urlsplit, urlunsplit

from benchmarks.driving import Crowd
from benchmarks.frame import Found
from tests.chaos.faults.proxy import ProxyProcess

COUNTED = ("statements", "round trips")


async def drive(given: Found) -> Found:
    """The probe: `store`, `in_flight`, `seconds`."""
    parts = urlsplit(given["store"])
    assert parts.port is not None
    proxy = await ProxyProcess.start(parts.port)
    through = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}"))
    crowd = Crowd(through)
    async with crowd.app.worker():
        before = await proxy.counts()
        await crowd.drive(given["in_flight"], 0.5, given["seconds"])
        after = await proxy.counts()
    await proxy.close()
    return {f"{what.replace(' ', '_')}_per_run": (after[what] - before[what]) / len(crowd.ended) for what in COUNTED}
