"""A function's parameters and result as codecs, prepared once."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from motet.errors import DefinitionError, WrongType
from motet.model.codec import Codec, convert, encode

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_PLACE = (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)

_wide: Codec[dict[str, Any]] = Codec(dict[str, Any])


def local_names(function: Callable[..., Any]) -> dict[str, Any]:
    """The names around a function defined inside another one, so that its annotations can be read later."""
    around, _, _ = function.__qualname__.rpartition(".<locals>.")
    frame = sys._getframe(1) if around else None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_code.co_qualname == around and frame.f_globals is function.__globals__:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def hints_of(function: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    """The function's annotations as types.

    Raises:
        DefinitionError: one of them cannot be resolved at run time.
    """
    try:
        return typing.get_type_hints(function, localns=names or None)
    except NameError as error:
        raise DefinitionError(
            f"{function.__qualname__}: an annotation cannot be read at run time ({error}); "
            "import its class outside 'if TYPE_CHECKING', and define it before the worker starts"
        ) from error


def admits_none(hint: Any) -> bool:
    """Whether an annotation says that None may come."""
    if hint is None or hint is type(None) or hint is Any or hint is object:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(admits_none(part) for part in typing.get_args(hint))
    return False


def is_positional(parameter: inspect.Parameter) -> bool:
    """Whether it takes exactly one argument, by its place."""
    return parameter.kind in _POSITIONAL


class Arguments:
    """Encodes the arguments of a call, decodes them for each attempt.

    The common case (only positional parameters) is a JSON array, read by one prepared decoder; keyword-only
    and starred parameters are read one by one.
    """

    __slots__ = ("_codec", "_hints", "_parameters", "_signature", "_width", "names", "one", "what")

    def __init__(self, function: Callable[..., Any], hints: dict[str, Any], what: str, given: int = 0) -> None:
        """Args:
        given: how many parameters, from the first, are not the caller's to give.
        """
        self.what = f"the arguments of {what}"
        self.one = f"an argument of {what}"
        signature = inspect.signature(function)
        parameters = self._parameters = list(signature.parameters.values())[given:]
        self._signature = signature.replace(parameters=parameters)
        self.names = [parameter.name for parameter in parameters]
        self._hints = hints
        self._width: int | None = None
        self._codec: Codec[Any] | None = None
        if all(map(is_positional, parameters)):
            self._width = len(parameters)
            kinds = tuple(hints.get(name, Any) for name in self.names)
            try:
                self._codec = Codec(tuple.__class_getitem__(kinds) if kinds else tuple[()])
            except WrongType as error:
                raise DefinitionError(f"{what}: a parameter's {error}") from error

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any], limit: int) -> str:
        """The arguments as JSON text.

        Raises:
            TypeError: they do not fit the parameters, as for any Python call.
            BadValue: they cannot be recorded.
        """
        if self._width is not None and len(args) == self._width and not kwargs:
            return encode(args, self.one, limit)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._width is not None:
            return encode(bound.args, self.one, limit)
        return encode({"args": bound.args, "kwargs": bound.kwargs}, self.one, limit)

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments.

        Raises:
            WrongType: the record does not fit the parameters (any more).
        """
        if self._codec is not None:
            return self._codec.decode(text, self.what), {}
        wide = _wide.decode(text, self.what)
        args = tuple(convert(value, self._hint(index)) for index, value in enumerate(wide["args"]))
        kwargs = {
            key: convert(value, self._hints.get(self._keyword(key), Any)) for key, value in wide["kwargs"].items()
        }
        return args, kwargs

    def _hint(self, index: int) -> Any:
        """The annotation of a positional argument; `*args` takes all that follow."""
        names = [parameter.name for parameter in self._parameters if parameter.kind in _BY_PLACE]
        return self._hints.get(names[min(index, len(names) - 1)], Any)

    def _keyword(self, key: str) -> str:
        """The parameter that takes a keyword argument."""
        if key in self.names:
            return key
        return next(parameter.name for parameter in self._parameters if parameter.kind is inspect.Parameter.VAR_KEYWORD)
