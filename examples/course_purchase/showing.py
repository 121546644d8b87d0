"""What `motet` itself says of a purchase, for a person who watches the demo: run as they would run it."""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from .purchases import Purchase
from .screen import Screen
from .styles import RUN_PREFIX

MOTET = "import sys; from motet.cli.main import main; sys.exit(main())"
"""The command `motet`, for this very Python: the script of that name may not be in the search path."""


class Showing:
    """Shows status or conversation of single purchases, where anybody looks."""

    def __init__(self, screen: Screen, purchases: Sequence[Purchase], style_of: Mapping[str, str]) -> None:
        self._screen = screen
        self._purchases = purchases
        self._style_of = style_of

    async def status(self, *purchases: str) -> None:
        """What became of these: of one that has an owner, its status; else its conversation."""
        for purchase in purchases:
            if self._style_of[purchase] == "choreographed":
                await self._show("conversation", purchase)
            else:
                await self._show("status", RUN_PREFIX + purchase)

    async def _heard(self, purchase: str) -> None:
        """What became of this one, and who has heard of it."""
        if self._style_of[purchase] == "hybrid":
            await self._show("conversation", RUN_PREFIX + purchase)
        else:
            await self.status(purchase)

    async def ends(self) -> None:
        """One purchase that went well, and one of which nobody knew what had happened to its seat."""
        shown: dict[str | None, str] = {}
        for purchase in self._purchases:
            shown.setdefault(purchase.trouble, purchase.id)
        if None in shown:
            await self._heard(shown[None])
        if "enroll_reply_always_lost" in shown:
            await self.status(shown["enroll_reply_always_lost"])

    async def _show(self, *arguments: str) -> None:
        if not self._screen.shown:
            return
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MOTET,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        self._screen.status(" ".join(("motet", *arguments)), output.decode(errors="replace"))
