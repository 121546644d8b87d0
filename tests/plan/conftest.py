"""Modules made of text, in a file, as a user's are."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Makes a module of a text."""

    def make(text: str) -> ModuleType:
        path = tmp_path / "shop.py"
        path.write_text(dedent(text), encoding="utf-8")
        linecache.clearcache()
        module = ModuleType("shop")
        module.__file__ = str(path)
        sys.modules["shop"] = module
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
        return module

    yield make
    sys.modules.pop("shop", None)
    linecache.clearcache()
