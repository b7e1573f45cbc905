"""Where the program begins: whoever stops it while it is still being loaded gets no traceback either."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line."""
    try:
        from consent_ledger.consumers.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()
