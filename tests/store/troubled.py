"""A process for the tests of real faults: a worker's committer that writes one event per line it is given.

`python -m tests.store.troubled FOLDER`: reads names from standard input, submits an event for each, and prints
`away` when the store does not answer, `back` when it does again, and each name once it is acknowledged.
"""

import asyncio
import logging
import sys
from pathlib import Path

from motet.testing.conformance.records import an_event
from tests.store.between import rig


class Said(logging.Handler):
    """Passes on what the committer says of the store."""

    def emit(self, record: logging.LogRecord) -> None:
        print("back" if "answers again" in record.getMessage() else f"away: {record.getMessage()}", flush=True)


async def main(folder: Path) -> None:
    logging.getLogger("motet.committer").addHandler(Said())
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with rig(folder) as found:
        await found.register()
        print("ready", flush=True)
        while line := (await lines.readline()).decode().strip():
            found.committer.submit([an_event(line)], lambda _, name=line: print(name, flush=True))
        await found.settled()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
