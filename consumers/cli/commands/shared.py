"""What all commands share: the program itself, options, how an answer goes out and how an error ends."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer
from typer.core import TyperGroup

from consent_ledger.consumers import show
from consent_ledger.consumers.mistakes import DoesNotHold, ScenarioFileError
from consent_ledger.ledger.errors import (
    HoldStanding,
    InvalidQuestion,
    KeyFileError,
    LedgerError,
    NotALedger,
    NothingToShow,
    PackError,
)
from consent_ledger.ledger.intake.recovery import NothingToRecover

P = ParamSpec("P")
NO: Final = 1  # the answer is no, or not applicable; evidence does not hold
WRONG: Final = 2  # wrong usage, or something unknown
FAILED: Final = 3
INTERRUPTED: Final = 130  # as a shell counts a program that SIGINT ended
CLOSED: Final = 141  # and one that SIGPIPE ended
_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (DoesNotHold, NO),
    (HoldStanding, NO),
    (NothingToShow, NO),
    (NothingToRecover, NO),
    (InvalidQuestion, WRONG),
    (NotALedger, WRONG),
    (PackError, WRONG),
    (ScenarioFileError, WRONG),
    (KeyFileError, WRONG),
    (FileNotFoundError, WRONG),
    (IsADirectoryError, WRONG),
    (NotADirectoryError, WRONG),
)
_HELP: Final = "An event-sourced ledger of consent: explained decisions now, proof years later."
_EXITS: Final = "Exit codes: 0 done or yes; 1 the answer is no; 2 wrong usage or something unknown; 3 something failed."


class Program(TyperGroup):
    """The program, whose complaints about how it was called are as harmless as all that is printed."""

    def main(  # type: ignore[override]  # what click is called with beyond this goes through
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        """Run a command line. `standalone_mode`: exits with its code."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            done = super().main(args, standalone_mode=False, **extra)
        except typer.Abort:
            show.complain("Aborted!")
            sys.exit(NO)
        except Exception as error:
            tell = getattr(error, "show", None)
            if tell is None:
                raise
            said = io.StringIO()
            tell(said)
            show.complain(said.getvalue().rstrip("\n"))
            sys.exit(WRONG)
        sys.exit(done if isinstance(done, int) else 0)


app = typer.Typer(
    name="consent-ledger",
    cls=Program,
    help=_HELP,
    epilog=_EXITS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Store = Annotated[str | None, typer.Option("--store", help="sqlite:///PATH, or CONSENT_LEDGER_STORE.")]
Keys = Annotated[
    str | None, typer.Option("--keys", help="Folder of the keys, or CONSENT_LEDGER_KEYS; default PATH.keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, safe to open in a spreadsheet.")]
Controller = Annotated[
    str | None, typer.Option("--controller", help="Whose policy; needed where a name is known to several.")
]
At = Annotated[str | None, typer.Option("--at", help="A moment in the world, RFC 3339; default now.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="What the ledger knew at a moment; default all.")]
Who = Annotated[str | None, typer.Option("--as", help="auditor: also what is secret for now.")]
Subject = Annotated[str, typer.Argument(help="The app's name for the person.")]
SomeSubject = Annotated[str | None, typer.Argument(help="The app's name for the person; default all.")]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn errors into one line that says what to do, and an exit code; never a traceback for a user's mistake."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except BrokenPipeError:
            raise typer.Exit(CLOSED) from None
        except KeyboardInterrupt:
            show.complain("consent-ledger: interrupted; what was committed stays, run the same command again")
            raise typer.Exit(INTERRUPTED) from None
        except (LedgerError, OSError) as error:
            show.complain(f"consent-ledger: {show.harmless(_in_words(error))}")
            raise typer.Exit(code_of(error)) from None

    return wrapped


def code_of(error: Exception) -> int:
    """The exit code that an error means."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        where = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
        return f"{f'{where}: ' if where else ''}{error.strerror or error}"
    return str(error)


class Told(logging.Handler):
    """Warnings of the program, on standard error: `main` installs it."""

    def emit(self, record: logging.LogRecord) -> None:
        show.complain(show.harmless(record.getMessage()))


def examples(*lines: str) -> str:
    """The end of a command's help: how it is called."""
    return "\b\nExamples:\n" + "\n".join(f"  consent-ledger {line}" for line in lines)


def form(*, json: bool, csv: bool) -> show.Form:
    """The form of a table. Raises typer.BadParameter where two were asked for."""
    if json and csv:
        raise typer.BadParameter("cannot be given with --json", param_hint="--csv")
    return "json" if json else "csv" if csv else "text"


def answer(document: Any, lines: str, *, json: bool) -> None:
    """What a command did, as JSON or in words."""
    if json:
        show.print_json(document)
    else:
        show.say(lines)


def named(path: Path | str) -> str:
    """A file as it may be shown, and stand in JSON."""
    return show.harmless(str(path))


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

        show.say(f"consent-ledger {version('consent-ledger')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """An event-sourced ledger of consent: explained decisions now, proof years later."""
