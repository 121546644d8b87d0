"""Checks the rules of this code base that no linter knows: `python -m tools.tidy`.

It exists so that style is a test and not a memory. Each finding reads `file:line rule reason`.

Invariants: a rule looks at one file alone and says nothing about a file outside its folders (`SCOPES` below).
Where a line has a good reason to break a rule of `EXCUSABLE`, it says so itself: `# tidy: <the reason>`;
lengths, docstrings, pickle, leftovers and home paths know no excuse.

What it does *not* do: formatting, unused names, types, import direction. For those there are ruff, mypy,
pyright and import-linter.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeGuard

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "examples", "benchmarks", "tools", "tests")
SUFFIXES = (".py", ".sql")
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "static"})

PACKAGE = "src/motet"
THE_CLOCK = "src/motet/model/clock.py"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

# Assembled, so that this file does not find itself.
LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
HOME_PATH = re.compile(r"(?<![\w.:])/(?:(?:home|Users)/\w|(?:root)\b)|\b[A-Z]:\\+(?:Users)\b")
EXCUSE = re.compile(r"#\s*tidy:\s*\S")

UNUSED_WORDS = frozenset({"manager", "helper", "util", "utility", "task", "job", "journal"})
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

READS_THE_CLOCK = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "datetime.date.today",
    }
)
SLEEPS = frozenset({"time.sleep", "asyncio.sleep", "anyio.sleep"})
CATCHES_ALL = frozenset({"Exception", "BaseException"})
RUNS_DATA_AS_CODE = frozenset({"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve"})


class Finding(NamedTuple):
    """One broken rule, at one line."""

    path: PurePosixPath
    line: int
    rule: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.rule} {self.reason}"


@dataclass(frozen=True)
class Source:
    """One file: its place, its text and, for Python, its tree, the names behind its imports, its comments."""

    path: PurePosixPath
    text: str
    tree: ast.Module | None = None
    imported: dict[str, str] = field(default_factory=dict[str, str])
    comments: dict[int, str] = field(default_factory=dict[int, str])

    @classmethod
    def parse(cls, path: PurePosixPath, text: str) -> "Source":
        if path.suffix != ".py":
            return cls(path, text)
        tree = ast.parse(text, filename=str(path))
        return cls(path, text, tree, _imported_names(tree), _comments(text))

    def nodes(self) -> Iterator[ast.AST]:
        if self.tree is not None:
            yield from ast.walk(self.tree)

    def full_name(self, node: ast.AST) -> str | None:
        """`datetime.datetime.now` for `dt.now` after `from datetime import datetime as dt`; else None."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imported:
            return None
        return ".".join([self.imported[node.id], *reversed(attributes)])

    def excused(self, line: int) -> bool:
        return EXCUSE.search(self.comments.get(line, "")) is not None


def _imported_names(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _comments(text: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


# ---- the rules: each yields (line, reason)

Hit = tuple[int, str]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def file_length(source: Source) -> Iterator[Hit]:
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES:
        yield 1, f"{lines} lines, at most {MAX_FILE_LINES}: a file is one concept that its name tells"


def function_length(source: Source) -> Iterator[Hit]:
    for node in source.nodes():
        if isinstance(node, Function):
            lines = len(_lines(node))
            if lines > MAX_FUNCTION_LINES:
                yield (
                    node.lineno,
                    f"{node.name}: {lines} lines, at most {MAX_FUNCTION_LINES}: split it by what it does",
                )


def module_docstring(source: Source) -> Iterator[Hit]:
    if source.tree is not None and not ast.get_docstring(source.tree):
        yield 1, "a module says why it exists, its invariants and what it does not do"


def one_clock(source: Source) -> Iterator[Hit]:
    if source.path == PurePosixPath(THE_CLOCK):
        return
    for line, name in _clock_uses(source, READS_THE_CLOCK | SLEEPS):
        yield line, f"{name}: ask the clock of {THE_CLOCK}, which tests can set"


def no_sleep_in_tests(source: Source) -> Iterator[Hit]:
    durable = _lines_of_workflow_bodies(source)
    for line, name in _clock_uses(source, SLEEPS):
        if not (name == "asyncio.sleep" and line in durable):
            yield line, f"{name}: wait for the thing itself (a result, a row), or move the virtual clock"


def _clock_uses(source: Source, names: frozenset[str]) -> Iterator[Hit]:
    yields = {
        id(node.func) for node in source.nodes() if isinstance(node, ast.Call) and node.args and _is_zero(node.args[0])
    }
    for node in source.nodes():
        if isinstance(node, ast.Attribute | ast.Name):
            name = source.full_name(node)
            # asyncio.sleep(0) does not wait: it lets others run.
            if name in names and not (id(node) in yields and name != "time.sleep"):
                yield node.lineno, name


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _lines_of_workflow_bodies(source: Source) -> set[int]:
    """In a function that takes `flow`, asyncio.sleep is a durable timer, not a wait on the real clock."""
    lines: set[int] = set()
    for node in source.nodes():
        if isinstance(node, ast.AsyncFunctionDef) and any(
            argument.arg == "flow" for argument in (*node.args.posonlyargs, *node.args.args)
        ):
            lines.update(_lines(node))
    return lines


def swallowed(source: Source) -> Iterator[Hit]:
    for node in source.nodes():
        if _is_silent(node, source) and not any(line in source.comments for line in _lines(node)):
            yield (
                node.lineno,
                "every exception ends here unseen: catch what you expect, or say why it may vanish",
            )


def _is_silent(node: ast.AST, source: Source) -> TypeGuard[ast.ExceptHandler | ast.Call]:
    if isinstance(node, ast.ExceptHandler):
        return _catches_all(node.type) and all(_does_nothing(statement) for statement in node.body)
    if isinstance(node, ast.Call) and source.full_name(node.func) == "contextlib.suppress":
        return any(_catches_all(argument) for argument in node.args)
    return False


def _lines(node: ast.ExceptHandler | ast.Call | Function) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _catches_all(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_catches_all(element) for element in node.elts)
    return node is None or (isinstance(node, ast.Name) and node.id in CATCHES_ALL)


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Return):
        return node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
    return isinstance(node, ast.Pass | ast.Continue | ast.Break) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def no_pickle(source: Source) -> Iterator[Hit]:
    for node in source.nodes():
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        for module in modules:
            if module.partition(".")[0] in RUNS_DATA_AS_CODE and isinstance(node, ast.Import | ast.ImportFrom):
                yield node.lineno, f"{module}: what is stored is JSON and names no class"


def no_leftovers(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := LEFTOVER.search(line):
            yield number, f"{found[0]}: do it, or file it where it will be seen"


def no_home_path(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := HOME_PATH.search(line):
            yield number, f"{found[0]}...: a path of one machine"


def one_word_per_idea(source: Source) -> Iterator[Hit]:
    names = [(1, part) for part in (*source.path.parts[:-1], source.path.stem)]
    names += [(node.lineno, node.name) for node in source.nodes() if isinstance(node, ast.ClassDef)]
    for line, name in names:
        for word in WORD.findall(name):
            if (found := _singular(word.lower())) in UNUSED_WORDS:
                yield line, f"{name}: '{found}' is not a word of this project; name what it is"


def _singular(word: str) -> str:
    return word[:-3] + "y" if word.endswith("ies") else word.removesuffix("s")


# ---- which rule holds where

Rule = Callable[[Source], Iterable[Hit]]

PRODUCT = ("src", "examples", "benchmarks", "tools")
SCOPES: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "file-length": (file_length, PRODUCT),
    "function-length": (function_length, PRODUCT),
    "module-docstring": (module_docstring, (PACKAGE,)),
    "one-clock": (one_clock, (PACKAGE,)),
    "no-sleep-in-tests": (no_sleep_in_tests, ("tests",)),
    "swallowed": (swallowed, PRODUCT),
    "no-pickle": (no_pickle, PRODUCT),
    "no-leftovers": (no_leftovers, PRODUCT),
    "no-home-path": (no_home_path, (*PRODUCT, "tests")),
    "one-word-per-idea": (one_word_per_idea, PRODUCT),
}
EXCUSABLE = frozenset({"one-clock", "no-sleep-in-tests", "swallowed", "one-word-per-idea"})


def check(path: PurePosixPath, text: str) -> list[Finding]:
    """All findings in one file; `path` is relative to the repository and decides which rules hold."""
    try:
        source = Source.parse(path, text)
    except SyntaxError as error:
        return [Finding(path, error.lineno or 1, "syntax", f"not Python: {error.msg}")]
    findings = [
        Finding(path, line, name, reason)
        for name, (rule, folders) in SCOPES.items()
        if any(path.is_relative_to(folder) for folder in folders)
        for line, reason in rule(source)
        if not (name in EXCUSABLE and source.excused(line))
    ]
    return sorted(findings)


def files(root: Path) -> Iterator[Path]:
    """The files under the checked folders, in a steady order."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root).parts
            if path.suffix in SUFFIXES and path.is_file() and SKIPPED_FOLDERS.isdisjoint(inside):
                yield path


def main(root: Path = ROOT) -> int:
    """Print each finding; the number of files and findings decides the exit code."""
    paths = list(files(root))
    if not paths:
        print(f"tidy: found no file to check under {', '.join(FOLDERS)}", file=sys.stderr)
        return 1
    findings: list[Finding] = []
    for path in paths:
        findings += check(PurePosixPath(path.relative_to(root).as_posix()), path.read_text(encoding="utf-8"))
    for finding in findings:
        print(finding)
    print(f"tidy: {len(paths)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
