"""The command line. Exit codes: 0 done, 1 the answer is no or something failed, 2 wrong usage."""

from __future__ import annotations

import sys

from consumers.commands import letters, packs, proof, questions, stores, trying
from consumers.commands.shared import app

__all__ = ["app", "letters", "main", "packs", "proof", "questions", "stores", "trying"]


def main() -> None:
    """The program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(1)
