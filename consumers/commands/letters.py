"""Commands about dead letters."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from consumers import opening, show
from consumers.commands.shared import Json, Keys, Store, app, command

letters = typer.Typer(help="What was no event at all.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")


@letters.command("list")
@command
def letters_list(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """All dead letters, without their text."""
    from consumers.maintenance import letter_rows

    rows = letter_rows(opening.open_ledger(store, keys))
    if json:
        show.print_json(rows)
    else:
        show.print_rows("dead letters", rows, ("id", "origin", "line", "field", "reason", "bytes"))


@letters.command("show")
@command
def letters_show(letter: int, store: Store = None, keys: Keys = None) -> None:
    """The text of one."""
    from ledger.deadletters import text

    sys.stdout.buffer.write(text(opening.open_ledger(store, keys).app, letter) + b"\n")


@letters.command("retry")
@command
def letters_retry(
    letter: Annotated[int | None, typer.Argument(help="Default all.")] = None, store: Store = None, keys: Keys = None
) -> None:
    """Record it again, now that what was wrong is mended; it stays if it still is not."""
    from consumers.maintenance import retry

    done, left = retry(opening.open_ledger(store, keys), letter)
    typer.echo(f"{done} recorded, {left} stay")
    if left:
        raise typer.Exit(1)


@letters.command("drop")
@command
def letters_drop(letter: int, store: Store = None, keys: Keys = None) -> None:
    """Destroy one."""
    from ledger.deadletters import drop

    drop(opening.open_ledger(store, keys).app, letter)
    typer.echo(f"dead letter {letter} is gone")
