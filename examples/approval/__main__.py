"""``python -m examples.approval [PURCHASE]``: a worker, and one purchase that needs an approval."""

import asyncio
import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from motet.errors import MotetError

from .buying import NobodyAnswered, Order, Refused, buy, buying

DONE, FAILED, NOT_BOUGHT, INTERRUPTED = 0, 1, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example and return its exit code."""
    parser = ArgumentParser(prog="python -m examples.approval", description="A purchase that needs an approval.")
    parser.add_argument("purchase", nargs="?", default="purchase-42", help="its id (default: %(default)s)")
    parser.add_argument("--item", default="a projector")
    parser.add_argument("--cents", type=int, default=79_900)
    given = parser.parse_args(arguments)
    try:
        print(asyncio.run(_see_through(given.purchase, Order(given.item, given.cents))))
    except (Refused, NobodyAnswered) as answer:
        print(f"not bought: {answer}")
        return NOT_BOUGHT
    except MotetError as error:
        print(f"approval: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped; the purchase waits in the store, and the same command goes on with it", file=sys.stderr)
        return INTERRUPTED
    return DONE


async def _see_through(purchase: str, order: Order) -> str:
    """The same purchase again is the same run: it goes on, or says how it has ended."""
    async with buying.worker():
        run = await buying.start(buy, order, id=purchase)
        print(f"{purchase} waits for somebody's approval", flush=True)
        return await run.result()


if __name__ == "__main__":
    raise SystemExit(main())
