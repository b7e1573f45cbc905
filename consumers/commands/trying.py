"""Commands that show it work, and measure it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumers.commands.shared import Json, app, command


@app.command()
@command
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep the demo's store; default a temporary one.")
    ] = None,
) -> None:
    """The main job end to end, on a generated stream: ingest, decide, prove, erase, tamper."""
    from consumers.demo import run

    if not run(folder):
        raise typer.Exit(1)


@app.command()
@command
def bench(events: Annotated[int, typer.Option(help="Events in the stream.")] = 20_000, json: Json = False) -> None:
    """Measure intake, decisions, rebuild, size and memory against peers, in one run."""
    from consumers.bench import run

    run(events, as_json=json)
