"""The command line. Exit codes: 0 done or yes, 1 the answer is no, 2 wrong usage or unknown, 3 something failed."""

from __future__ import annotations

import logging
import os
import sys

from consent_ledger.consumers import show
from consent_ledger.consumers.cli.commands.shared import CLOSED, FAILED, INTERRUPTED, Told, app

# in the order in which help lists them
from consent_ledger.consumers.cli.commands import stores  # isort: skip
from consent_ledger.consumers.cli.commands import questions  # isort: skip
from consent_ledger.consumers.cli.commands import proof  # isort: skip
from consent_ledger.consumers.cli.commands import packs  # isort: skip
from consent_ledger.consumers.cli.commands import documents  # isort: skip
from consent_ledger.consumers.cli.commands import letters  # isort: skip
from consent_ledger.consumers.cli.commands import copies  # isort: skip
from consent_ledger.consumers.cli.commands import trying  # isort: skip

__all__ = ["app", "copies", "documents", "letters", "main", "packs", "proof", "questions", "stores", "trying"]


def main() -> None:
    """The program."""
    _ready()
    code = _code()
    try:
        sys.stdout.flush()
    except OSError as error:
        _let_go()  # what is left cannot be written: Python would try once more, and say so
        if not isinstance(error, BrokenPipeError):
            show.complain(f"consent-ledger: standard output: {error.strerror}")
            code = FAILED
        elif code == 0:
            code = CLOSED
    sys.exit(code)


def _code() -> int | str | None:
    try:
        app()
    except SystemExit as end:
        if end.code == CLOSED:
            _let_go()
        return end.code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _ready() -> None:
    """What cannot be written in a terminal's encoding is escaped; a stream that is closed takes nothing."""
    logging.getLogger("consent_ledger").addHandler(Told())
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  as long as the process
        else:
            stream.reconfigure(errors="backslashreplace")


def _let_go() -> None:
    """Let nothing more be written to a pipe that nobody reads."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
