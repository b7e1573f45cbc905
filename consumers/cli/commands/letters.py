"""Commands about dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    NO,
    Csv,
    Json,
    Keys,
    Store,
    answer,
    app,
    command,
    examples,
    form,
)

letters = typer.Typer(help="What was no event at all.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")
Letter = Annotated[int, typer.Argument(help="Its number, as list gives it.", min=0, max=2**63 - 1)]


@letters.command("list", epilog=examples("dead-letters list", "dead-letters list --csv"))
@command
def letters_list(store: Store = None, keys: Keys = None, json: Json = False, csv: Csv = False) -> None:
    """All dead letters, without their text."""
    from consent_ledger.consumers.maintenance import letter_rows

    how = form(json=json, csv=csv)
    rows = letter_rows(opening.open_ledger(store, keys))
    show.print_rows("dead letters", rows, ("id", "received_at", "origin", "line", "field", "reason", "bytes"), how)


@letters.command("show", epilog=examples("dead-letters show 3"))
@command
def letters_show(letter: Letter, store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """The text of one, byte by byte; in JSON a byte that is no UTF-8 is escaped."""
    from consent_ledger.ledger.intake.dead_letters import text

    body = text(opening.open_ledger(store, keys).app, letter)
    if json:
        show.print_json({"id": letter, "text": body.decode(errors="backslashreplace")})
    else:
        show.write(body + b"\n")


@letters.command("retry", epilog=examples("dead-letters retry 3", "dead-letters retry"))
@command
def letters_retry(
    letter: Annotated[int | None, typer.Argument(help="Its number; default all.", min=0, max=2**63 - 1)] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Record it again, now that what was wrong is mended; it stays if it still is not."""
    from consent_ledger.consumers.maintenance import retry

    done, left = retry(opening.open_ledger(store, keys), letter)
    answer({"recorded": done, "left": left}, f"{done} recorded, {left} stay", json=json)
    if left:
        raise typer.Exit(NO)


@letters.command("drop", epilog=examples("dead-letters drop 3"))
@command
def letters_drop(letter: Letter, store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Destroy one."""
    from consent_ledger.ledger.intake.dead_letters import drop

    drop(opening.open_ledger(store, keys).app, letter)
    answer({"dropped": letter}, f"dead letter {letter} is gone", json=json)
