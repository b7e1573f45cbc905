"""How answers look on a terminal: tables and sentences, at 100 columns or what the terminal has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ledger.events import UNPRINTABLE
from ledger.verifier import for_stream
from projections.question import Answer

COLOURS = {"permit": "green", "deny": "red", "not-applicable": "yellow"}


def console() -> Console:
    """Standard output; without a terminal 100 columns and no colour."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


def print_text(text: str) -> None:
    """A text on standard output, with what its encoding lacks escaped."""
    sys.stdout.write(for_stream(text, sys.stdout.encoding) + "\n")


def print_answer(answer: Answer, question: str | None = None) -> None:
    """An answer in three lines."""
    out = console()
    colour = COLOURS[answer.outcome]
    if question:
        out.print(f"[bold]{escape(plain(question))}[/bold]")
    version = f", version {answer.policy[1]}" if answer.policy[1] else ""
    out.print(f"  [{colour}]{answer.outcome.upper()}[/{colour}]  {escape(plain(answer.reason))}")
    because = ", ".join(f"entry {ref.position} ({ref.type})" for ref in answer.because) or "no entry"
    out.print(f"  [dim]{escape(str(answer.policy[0]))}{version}; because of {because}[/dim]")
    for clause, text in answer.consequences:
        out.print(f"  [yellow]consequence ({clause}):[/yellow] {escape(text)}")


def print_rows(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str = "none") -> None:
    """A table of some columns of the rows."""
    out = console()
    if not rows:
        out.print(f"[bold]{escape(title)}[/bold]: {empty}")
        return
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(plain(_cell(row.get(column)))) for column in columns))
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    return str(value)


def plain(text: str) -> str:
    """The text without what steers a terminal, turns text around or is not seen: as it is written in JSON."""
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain_lines(text: str) -> str:
    """The same of a text whose lines stay as they are."""
    return "\n".join(plain(line) for line in text.split("\n"))


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
