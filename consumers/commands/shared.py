"""What all commands share: the program itself, options, and how an error ends."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Final, ParamSpec

import typer

from ledger.errors import InvalidQuestion, LedgerError
from ledger.recorder import translate

P = ParamSpec("P")
_ABOUT_THE_STORE: Final = ("subject", "recipient", "transfer", "letter")  # well asked, and not there
app = typer.Typer(
    name="consent-ledger",
    help="An event-sourced ledger of consent: explained decisions now, proof years later.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Store = Annotated[str | None, typer.Option("--store", help="sqlite:///PATH, or CONSENT_LEDGER_STORE.")]
Keys = Annotated[
    str | None, typer.Option("--keys", help="Folder of the keys, or CONSENT_LEDGER_KEYS; default PATH.keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Controller = Annotated[
    str | None, typer.Option("--controller", help="Whose policy; needed where a name is known to several.")
]
At = Annotated[str | None, typer.Option("--at", help="A moment in the world, RFC 3339; default now.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="What the ledger knew at a moment; default all.")]
Who = Annotated[str | None, typer.Option("--as", help="auditor: also what is secret for now.")]
Subject = Annotated[str, typer.Argument(help="The app's name for the person.")]
SomeSubject = Annotated[str | None, typer.Argument(help="The app's name for the person; default all.")]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn errors into one line that says what to do, and exit 1; never a traceback for a user's mistake."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except InvalidQuestion as error:
            typer.echo(f"consent-ledger: {error}", err=True)
            raise typer.Exit(1 if error.field in _ABOUT_THE_STORE else 2) from None
        except LedgerError as error:
            typer.echo(f"consent-ledger: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("consent-ledger: interrupted; what was committed stays, run the same command again", err=True)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"consent-ledger: {where}{error.strerror or error}", err=True)
            raise typer.Exit(1) from None
        except sqlite3.Error as error:  # of the projections, which have a file of their own
            typer.echo(f"consent-ledger: {translate(error, 'projections')}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def auditor(as_: str | None) -> bool:
    """Whether an auditor asks. Raises typer.BadParameter for anybody else."""
    if as_ not in (None, "auditor"):
        raise typer.BadParameter("wants auditor", param_hint="--as")
    return as_ == "auditor"


def asked(**fields: Any) -> dict[str, Any]:
    """A question's body of the options that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"consent-ledger {version('consent-ledger')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """An event-sourced ledger of consent: explained decisions now, proof years later."""
