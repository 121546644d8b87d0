"""From the command line to an open app: which store is meant, and which app a module holds.

Commands that need no code of the user's open the store through an app of their own, and never create it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

from motet.app import App
from motet.errors import ConfigError
from motet.runtime.liveness import is_dead
from motet.store.protocol import WorkerRow


class ModuleProblem(ConfigError):
    """A MODULE holds no app to be found. The message says what there is."""


class ModuleBroken(ConfigError):
    """A MODULE cannot be imported, for a reason of its own. `trace` is what its author needs."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


@asynccontextmanager
async def existing_store(address: str | None) -> AsyncGenerator[App]:
    """An app without code, connected to a store that is there. Raises StoreMissing, StoreRefused, StoreUnavailable."""
    app = App("cli", store=address)
    async with app.connect(create=False):
        yield app


async def living_workers(app: App) -> list[WorkerRow]:
    """The registered workers of which nobody knows that they are gone."""
    store = app.client.store
    return [worker for worker in await store.workers() if not is_dead(worker, shared=store.shared)]


def load_app(target: str, address: str | None) -> App:
    """The app of `package.module:app`, or the only one of `package.module`.

    Raises:
        ModuleProblem: there is no such module, or not exactly one app in it.
        ModuleBroken: it raised an error.
    """
    module_name, _, name = target.partition(":")
    module = _import(module_name)
    app = _named(module, name) if name else _only(module)
    if address is not None:
        app.use_store(address)
    return app


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        dotted = name.removesuffix(".py").strip("./").replace("/", ".")
        raise ModuleProblem(f"{name!r} is a file; name the module as in an import: {dotted}")
    if not all(part.isidentifier() for part in name.split(".")):
        raise ModuleProblem(f"{name!r} is no module; write package.module or package.module:app")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ModuleProblem(
                f"there is no module {error.name!r}, neither in {here} nor installed; "
                "start the command in the folder that holds it"
            ) from None
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ModuleBroken:
    return ModuleBroken(f"module {name!r} cannot be imported: {type(error).__name__}: {error}", _trace_of(error))


def _trace_of(error: Exception) -> str:
    """The traceback from the user's own code on: without this file and the import machinery before it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        index
        for index, frame in enumerate(frames)
        if frame.filename not in (__file__, importlib.__file__) and not frame.filename.startswith("<frozen importlib")
    ]
    kept = traceback.StackSummary.from_list(frames[own[0] :] if own else [])
    head = ["Traceback (most recent call last):\n"] if kept else []
    return "".join([*head, *kept.format(), *traceback.format_exception_only(error)])


def _named(module: ModuleType, name: str) -> App:
    found = getattr(module, name, None)
    if isinstance(found, App):
        return found
    what = "has no such name" if found is None else f"holds {type(found).__name__} there, not an App"
    raise ModuleProblem(f"{module.__name__}:{name} is no app: the module {what}; {_candidates(module)}")


def _only(module: ModuleType) -> App:
    apps = {id(app): app for app in _apps(module).values()}
    if len(apps) == 1:
        return next(iter(apps.values()))
    what = "no app" if not apps else "several apps"
    raise ModuleProblem(f"module {module.__name__!r} holds {what}; {_candidates(module)}")


def _apps(module: ModuleType) -> dict[str, App]:
    return {name: value for name, value in vars(module).items() if isinstance(value, App)}


def _candidates(module: ModuleType) -> str:
    names = sorted(_apps(module))
    if not names:
        return "it holds none: declare one with app = App('name') at the top level of the module"
    return "choose one: " + ", ".join(f"{module.__name__}:{name}" for name in names)
