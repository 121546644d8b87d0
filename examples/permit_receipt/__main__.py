"""``python -m examples.permit_receipt``: read a file, let it happen, and say what was noticed."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from motet import App
from motet.errors import MotetError, StoreMissing, StoreRefused

from .findings import Finding, Unreadable, findings
from .options import Options, read_options
from .pairs import BadPair, check_known
from .records import BadFile, Record, read
from .replay import replay
from .screen import progress_bar, show
from .succession import succession

DONE, FAILED, BAD_USE, INTERRUPTED = 0, 1, 2, 130


class StoreExists(Exception):
    """There is a store already, and what is in it would be mixed with the replay."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example and return its exit code."""
    options = read_options(arguments)
    try:
        _run(options)
    except (BadFile, BadPair, StoreExists) as error:
        return _complain(str(error), BAD_USE)
    except (MotetError, Unreadable, OSError) as error:
        return _complain(f"could not finish: {error}", FAILED)
    except KeyboardInterrupt:
        return _complain("stopped", INTERRUPTED)
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"permit_receipt: {message}", file=sys.stderr)
    return code


def _run(options: Options) -> None:
    records = read(options.file)
    _check_pairs(options, records)
    with TemporaryDirectory(prefix="motet-permits-") as folder:
        store = options.store or f"sqlite:///{Path(folder, 'permits.db')}"
        asyncio.run(_refuse_used(store))
        with progress_bar(len(records)) as progress:
            asyncio.run(replay(records, options.pairs, store, progress))
        now = records[-1].time
        found = findings(store, options.pairs, now)
        if options.json:
            print(json.dumps(_as_json(options, found)))
            return
        followed = asyncio.run(succession(store, now))
    cases = len({record.case for record in records})
    title = f"{len(records):,} events of {cases:,} cases, {records[0].time:%Y-%m-%d} to {now:%Y-%m-%d}"
    show(title, found, followed, cases)
    if options.store is not None:
        print(f"\nThe store is kept: motet expectations --store {options.store}")


def _check_pairs(options: Options, records: Sequence[Record]) -> None:
    activities = {record.activity for record in records}
    try:
        for pair in options.pairs:
            check_known(pair, activities)
    except BadPair as error:
        if options.chosen:
            raise
        raise BadPair(f"{error} (choose a pair of this file's with --after, --expect and --within)") from error


async def _refuse_used(store: str) -> None:
    try:
        async with App("permits", store=store).connect(create=False):
            pass
    except StoreMissing:
        return
    except StoreRefused as error:
        raise StoreExists(f"{store} is no new store ({error}); name a file that does not exist yet") from error
    raise StoreExists(f"there is a store at {store} already; name a file that does not exist yet, or remove that one")


def _as_json(options: Options, found: Sequence[Finding]) -> object:
    if options.chosen:
        return found[0].counts
    pairs = [
        {
            "after": finding.pair.after, "expect": finding.pair.expect,
            "within_seconds": finding.pair.within.total_seconds(), **finding.counts,
        }
        for finding in found
    ]  # fmt: skip
    return {"pairs": pairs}


if __name__ == "__main__":
    raise SystemExit(main())
