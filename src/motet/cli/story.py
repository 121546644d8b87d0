"""A run's status as lines: what it has done, what it does, what is ahead, and what would be undone.

Made from the `RunStatus` alone, so that what is shown is what `--json` gives. It reads no store and no clock.
"""

from __future__ import annotations

from rich.text import Text

from motet.cli.layout import clean, flowing
from motet.cli.operations import operation_lines
from motet.cli.outlook import outlook
from motet.cli.spans import ago, micros_of, moment, span, whole
from motet.cli.terminal import state_text
from motet.cli.view import View, labelled, short
from motet.model.run import ENDED
from motet.status import RunStatus, Stop


def story(status: RunStatus, view: View) -> list[Text]:
    """The run's story."""
    lines = flowing(_header(status), view.width)
    return [*lines, *_remarks(status, view), *operation_lines(status, view), *outlook(status, view)]


def _header(status: RunStatus) -> list[Text]:
    word = "after" if status.state in ENDED else "for"
    parts = [
        Text(clean(status.id), style="bold"),
        Text(f"{clean(short(status.workflow))} v{status.version}"),
        state_text(status.state),
        Text(f"{word} {span(status.seconds) if status.state in ENDED else whole(status.seconds)}"),
        Text(f"conversation {clean(status.conversation)}"),
    ]
    if status.generation > 1:
        parts.append(Text(f"generation {status.generation}"))
    return parts


def _remarks(status: RunStatus, view: View) -> list[Text]:
    remarks: list[tuple[str, str]] = []
    if status.rerun_of is not None:
        kept = f"of {clean(status.rerun_of)} from {clean(status.rerun_from or '')} on; what was before that is kept"
        remarks.append(("Rerun:", kept))
    if status.stranded and view.driven:
        what = f"{clean(short(status.workflow))} v{status.version}"
        remarks.append(("Stranded:", f"no worker has {what}; start one whose code keeps it (motet versions)"))
    if status.note is not None:
        remarks.append(("Note:", f"{clean(status.note)}"))
    if status.attributes:
        pairs = [
            f"{name}={value if isinstance(value, str) else repr(value)}" for name, value in status.attributes.items()
        ]
        remarks.append(("Attributes:", f"{clean(', '.join(pairs))}"))
    if status.deadline_at is not None and status.state not in (*ENDED, "blocked"):
        left = micros_of(status.deadline_at) - view.now
        if left * 4 < micros_of(status.deadline_at) - micros_of(status.created_at):
            remarks.append(("Deadline:", f"{moment(status.deadline_at, view.now)}"))
    if status.stop is not None and status.state not in (*ENDED, "blocked"):
        remarks.append(("Stopping:", _stopping(status.stop, view)))
    if status.crashes and status.state not in ENDED:
        times = "once" if status.crashes == 1 else f"{status.crashes} times"
        remarks.append(("Crashes:", f"its worker has died {times}"))
    return [line for label, text in remarks for line in labelled(label, text, view.width)]


def _stopping(stop: Stop, view: View) -> str:
    asked = "its deadline passed" if stop.kind == "deadline" else "it was asked to"
    reason = f" ({clean(stop.reason)})" if stop.reason else ""
    then = "what is in flight is awaited, then what was done is undone"
    if not stop.compensate:
        then = "what is in flight is awaited, and nothing is undone"
    return f"{asked} {ago(stop.at, view.now)}{reason}; {then}"
