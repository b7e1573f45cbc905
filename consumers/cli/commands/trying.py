"""Commands that show it work, and measure it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from consent_ledger.consumers import show
from consent_ledger.consumers.cli.commands.shared import NO, Csv, Json, app, command, examples, form
from consent_ledger.consumers.opening import server_address
from consent_ledger.ledger.errors import NotALedger


@app.command(epilog=examples("demo", "demo --folder demo"))
@command
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep the demo's store; default a temporary one.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Show it on standard error, and print JSON.")] = False,
) -> None:
    """The main job end to end, on a generated stream: ingest, decide, prove, erase, tamper."""
    from consent_ledger.consumers.demo.story import run

    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
        good = run(folder)
    if json:
        show.print_json({"as_it_should_be": good})
    if not good:
        raise typer.Exit(NO)


@app.command(epilog=examples("bench", "bench --events 100000 --csv", "bench --store postgresql://me@localhost/scratch"))
@command
def bench(
    events: Annotated[int, typer.Option(help="Events in the stream.", min=1)] = 20_000,
    store: Annotated[
        str | None, typer.Option(help="A PostgreSQL server: intake there, in schemas that are dropped again.")
    ] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Measure intake, decisions, rebuild, size and memory against peers, in one run."""
    from consent_ledger.consumers.demo.bench import run

    how = form(json=json, csv=csv)
    if store is None:
        run(events, how)
        return
    if server_address(store) is None:
        raise NotALedger(f"--store {store}: names no server (postgresql://user@host:5432/database does)")
    try:
        from consent_ledger.consumers.demo import bench_postgres
    except ImportError as error:
        raise NotALedger(f"postgresql://: {error} (install it with: pip install 'consent-ledger[postgres]')") from None
    bench_postgres.run(store, events, how)
