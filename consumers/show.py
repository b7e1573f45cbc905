"""How answers look: text for a terminal, JSON and CSV for programs. Nothing from data can steer what reads it.

Everything printed goes through here. `harmless` is the one function that makes data safe for a terminal.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from typing import Any, Final, Literal

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from consent_ledger.ledger.log.verifier import printable
from consent_ledger.ledger.times import FOREVER, format_time
from consent_ledger.projections.decision.question import Answer

Row = dict[str, Any]
Form = Literal["text", "json", "csv"]
COLOURS = {"permit": "green", "deny": "red", "not-applicable": "yellow"}
_WIDTH: Final = 100  # of what is laid out for reading and goes to no terminal
_NARROWEST: Final = 12  # of a column that can be folded
_WORD: Final = 32  # a word of no more characters is not cut
_UNBROKEN: Final = re.compile(r"-?[\d,.]+|\d{4}-\d\d-\d\dT\S*|[0-9a-f]{32}|[0-9a-f]{64}|-|yes|no")

# -- what data may not do ----------------------------------------------------------------------------------------------

_FORMULA: Final = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def harmless(text: str) -> str:
    r"""Text with everything escaped that could steer a terminal or hide in it: `\x1b`, `\u202e`, `\n`.

    A byte of a file's name or of an argument that is no UTF-8 stands as itself: `\xff`.
    """
    return printable(text)


def harmless_lines(text: str) -> str:
    """The same of a text whose lines are the program's own."""
    return "\n".join(map(harmless, text.split("\n")))


def cell_of_csv(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula: one that begins like it gets an apostrophe before it."""
    if value is None:
        return ""
    text = harmless(_cell(value))
    return f"'{text}" if isinstance(value, str | list | dict) and _FORMULA.match(text) else text


def as_json(value: Any, *, pretty: bool = False) -> bytes:
    """JSON in which whatever could steer a terminal is escaped: the value is the same."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else 0).decode()
    except orjson.JSONEncodeError:  # half of a surrogate pair, which a stranger's evidence may hold
        text = json.dumps(value, indent=2 if pretty else None)
    return "\n".join(printable(line, _escaped_in_json) for line in text.split("\n")).encode()


def _escaped_in_json(one: str) -> str:
    units = one.encode("utf-16-be")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


# -- lines, documents, bytes -------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """A line, or several, on standard output."""
    print(harmless_lines(text))  # noqa: T201  the one place


def complain(text: str) -> None:
    """A line on standard error, where somebody reads that."""
    with suppress(OSError):
        print(harmless_lines(text), file=sys.stderr, flush=True)  # noqa: T201  the one place


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    write(as_json(value, pretty=True) + b"\n")


def print_json_line(value: Any) -> None:
    """One JSON document in one line."""
    write(as_json(value) + b"\n")


def write(exact: bytes) -> None:
    """Exact bytes on standard output; to a terminal what is harmless of them."""
    if sys.stdout.isatty():
        text = exact.decode(errors="surrogateescape")
        exact = harmless_lines(text).encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(exact)
    sys.stdout.buffer.flush()


def console() -> Console:
    """Standard output; without a terminal no colour, and no line is wrapped. `app:100:x` is no picture."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else _WIDTH, highlight=False, soft_wrap=not terminal, emoji=False)


# -- answers -----------------------------------------------------------------------------------------------------------


def print_answer(answer: Answer, question: str | None = None, when: str | None = None) -> None:
    """An answer in a few lines: what, why, by which statement, because of what, as of when."""
    out = console()
    colour = COLOURS[answer.outcome]
    if question:
        out.print(f"[bold]{marked(question)}[/bold]")
    version = f", version {answer.policy[1]}" if answer.policy[1] else ""
    out.print(f"  [{colour}]{answer.outcome.upper()}[/{colour}]  {marked(answer.reason)}")
    because = ", ".join(f"entry {ref.position} ({ref.type})" for ref in answer.because) or "no entry"
    out.print(f"  [dim]{marked(f'{answer.policy[0]}{version}')}; because of {marked(because)}[/dim]")
    if when:
        out.print(f"  [dim]{marked(when)}[/dim]")
    for clause, text in answer.consequences:
        out.print(f"  [yellow]consequence ({marked(clause)}):[/yellow] {marked(text)}")


def moments(at: int, known_at: int | None) -> str:
    """As of which moments an answer is: `at 2026-03-01T00:00:00Z, by all that is recorded`."""
    known = "by all that is recorded" if known_at in (None, FOREVER) else f"as known at {format_time(known_at)}"
    return f"at {format_time(at)}, {known}"


def marked(text: str) -> str:
    """Data inside markup of ours."""
    return escape(harmless(text))


# -- tables ------------------------------------------------------------------------------------------------------------


def print_rows(
    title: str, rows: Sequence[Row], columns: Sequence[str], form: Form = "text", *, empty: str = "none"
) -> None:
    """Some columns of the rows as a table, or as CSV; as JSON all of the rows."""
    if form == "json":
        print_json(rows)
    elif form == "csv":
        write(as_csv(rows, columns))
    else:
        _print_table(title, rows, columns, empty)


def as_csv(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    """A header and a line a row, in UTF-8. Nothing in it is a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell_of_csv(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def _print_table(title: str, rows: Sequence[Row], columns: Sequence[str], empty: str) -> None:
    out = console()
    if not rows:
        out.print(f"[bold]{marked(title)}[/bold]: {empty}")
        return
    out.print(f"[bold]{marked(title)}[/bold]", soft_wrap=True)
    cells = [[harmless(_cell(row.get(column))) for column in columns] for row in rows]
    widths = [max(map(cell_len, texts)) for texts in zip(columns, *cells, strict=True)]
    if sys.stdout.isatty():
        widths = _narrowed(widths, list(zip(*cells, strict=True)), out.width)
        if _across(widths) > out.width:
            _print_records(columns, cells, out)
            return
        out.print("\n".join(_laid_out(columns, widths, out)), style="dim", markup=False, soft_wrap=True)
    else:
        say("\n".join(_laid_out(columns, widths, out)))
    print("\n".join(line for row in cells for line in _laid_out(row, widths, out)))  # noqa: T201  harmless by now


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _print_records(columns: Sequence[str], cells: Sequence[Sequence[str]], out: Console) -> None:
    """The rows below each other, a line a cell: for a terminal that has no room for them as a table."""
    names = max(map(cell_len, columns))
    room = max(out.width - names - 2, _NARROWEST)
    rows = []
    for row in cells:
        lines: list[str] = []
        for name, text in zip(columns, row, strict=True):
            width = cell_len(text) if _UNBROKEN.fullmatch(text) else room
            lines += _laid_out((name, text), (names, width), out)
        rows.append("\n".join(lines))
    print("\n\n".join(rows))  # noqa: T201  harmless by now


def _laid_out(texts: Sequence[str], widths: Sequence[int], out: Console) -> Iterator[str]:
    """The lines of one row: what is longer than its column is folded within it, between words where it can be."""
    pieces = [
        [text]
        if cell_len(text) <= width
        else [piece.plain.rstrip() for piece in Text(text).wrap(out, width, overflow="fold")]
        for text, width in zip(texts, widths, strict=True)
    ]
    for line in zip_longest(*pieces, fillvalue=""):
        filled = (text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        yield "  ".join(filled).rstrip()


def _narrowed(widths: Sequence[int], texts: Sequence[Sequence[str]], room: int) -> list[int]:
    """The widths of columns for a terminal: the widest give way first, but no time, number, digest or word is cut."""
    narrow = list(widths)
    least = [
        width if all(_UNBROKEN.fullmatch(text) for text in column) else min(width, max(_NARROWEST, _longest(column)))
        for width, column in zip(widths, texts, strict=True)
    ]
    excess = _across(narrow) - room
    while excess > 0:
        number = max(range(len(narrow)), key=lambda one: narrow[one] - least[one])
        if narrow[number] == least[number]:
            break  # too narrow for a table
        narrow[number] -= 1
        excess -= 1
    return narrow


def _longest(texts: Sequence[str]) -> int:
    """The width of the longest word that is not cut."""
    return max((width for text in texts for word in text.split() if (width := cell_len(word)) <= _WORD), default=0)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ("; " if any(isinstance(one, dict) for one in value) else ", ").join(map(_cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_within(one)}" for name, one in value.items())
    return str(value)


def _within(value: Any) -> str:
    """A value among others: the comma stands between those, so several of one are joined otherwise."""
    return " + ".join(map(_cell, value)) if isinstance(value, list) else _cell(value)


# -- progress ----------------------------------------------------------------------------------------------------------


class RateColumn(ProgressColumn):
    """Entries a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error for long work; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)

        def update(done: int) -> None:
            bar.update(task, completed=done)

        yield update
