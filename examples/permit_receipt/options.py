"""What can be asked of the example, checked before anything starts."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .pairs import DEFAULT_PAIRS, BadPair, Pair, read_within
from .records import DEFAULT_FILE


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run the example.

    Args:
        file: where the events are.
        store: the address of a new store; None: a temporary one.
        pairs: what is expected after what.
        json: print the findings as one JSON document, and nothing else, on standard output.
    """

    file: Path = DEFAULT_FILE
    store: str | None = None
    pairs: Sequence[Pair] = DEFAULT_PAIRS
    json: bool = False

    @property
    def chosen(self) -> bool:
        """Whether the pair is the user's own."""
        return self.pairs is not DEFAULT_PAIRS


def read_options(arguments: Sequence[str] | None) -> Options:
    """From the command line; one that makes no sense ends the program."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.permit_receipt",
        description="Real events of a choreography, published in virtual time, and what its expectations noticed. "
        "Without a pair of your own: the two that the municipalities' log is asked for.",
    )
    parser.add_argument("--after", metavar="A", help="the first such event of a case begins the time")
    parser.add_argument("--expect", metavar="B", help="what has to follow in the same case")
    parser.add_argument("--within", metavar="TIME", help="how soon: 7d, 36h, 1d12h")
    parser.add_argument("--file", type=Path, default=DEFAULT_FILE, metavar="FILE", help="a CSV file, plain or gzipped, "
                        "with the columns case, activity, time")  # fmt: skip
    parser.add_argument("--store", metavar="ADDRESS", help="keep the store here, as sqlite:///permits.db")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    own = (given.after, given.expect, given.within)
    pairs: Sequence[Pair] = DEFAULT_PAIRS
    if any(part is not None for part in own):
        if any(part is None for part in own):
            parser.error("--after, --expect and --within belong together: name all three, or none")
        try:
            pairs = [Pair(given.after, given.expect, read_within(given.within))]
        except BadPair as error:
            parser.error(f"--within: {error}")
    return Options(file=given.file, store=given.store, pairs=pairs, json=given.json)
