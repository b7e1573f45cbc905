"""Commands about a store as a whole: make it, fill it, look after it, copy it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from consumers import opening, show
from consumers.commands.shared import Json, Keys, Store, app, command
from ledger.application import READ_ONLY
from ledger.errors import StoreReadOnly


@app.command()
@command
def init(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log; its key name.")] = None,
) -> None:
    """Make a new store and its keys."""
    ledger = opening.create_ledger(store, keys, origin=origin)
    typer.echo(f"store  {ledger.app.where}")
    typer.echo(f"keys   {opening.keys_folder(opening.store_path(store), keys)} (keep them apart from the store)")
    typer.echo(f"log    {ledger.app.origin}")
    typer.echo(f"vkey   {ledger.app.signer.vkey} (publish it: auditors verify with it)")


@app.command()
@command
def ingest(
    file: Annotated[str, typer.Argument(help="NDJSON file, or - for standard input.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Record a stream of events. Run it again after an interruption: nothing is added twice."""
    from consumers.ingest import ingest as run

    ledger = opening.open_ledger(store, keys)
    if file == "-":
        with show.progress("ingest", None) as progress:
            tally = run(ledger, sys.stdin.buffer, "stdin", progress=progress)
    else:
        path = Path(file)
        with path.open("rb") as stream, show.progress("ingest", None) as progress:
            tally = run(ledger, stream, path.name, progress=progress)
    if json:
        show.print_json({**tally.to_dict(), "problems": tally.problems})
        return
    typer.echo(", ".join(f"{count} {name}" for name, count in tally.to_dict().items()))
    for problem in tally.problems:
        typer.echo(f"  {problem}", err=True)
    if tally.invalid:
        typer.echo("  what was invalid is kept: consent-ledger dead-letters list", err=True)


@app.command()
@command
def doctor(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Look whether everything is as it should be, and finish what was interrupted."""
    from consumers.maintenance import examine

    ledger = opening.open_ledger(store, keys)
    checks = examine(ledger)
    if json:
        show.print_json(checks)
    else:
        show.print_rows("doctor", checks, ("check", "ok", "says"))
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


@app.command()
@command
def rebuild(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Fold all projections anew, compare them with the old ones and put them in their place."""
    from projections.projector import rebuild as run

    ledger = opening.open_ledger(store, keys)
    path = ledger.projector.path
    if path is None:
        raise StoreReadOnly(f"{ledger.app.where}: is open for reading only: {READ_ONLY[ledger.app.how]}")
    ledger.projector.close()
    size = ledger.app.current_head().size
    with show.progress("rebuild", size) as progress:
        folded, differences = run(ledger.app, path, progress)
    rows = [{"person": one.person, "what": one.what} for one in differences]
    if json:
        show.print_json({"folded": folded, "differences": rows})
    else:
        typer.echo(f"{folded} entries folded, {len(rows)} persons differ from before")
        if rows:
            show.print_rows("differences", rows, ("person", "what"))
    if rows:
        raise typer.Exit(1)


@app.command()
@command
def backup(file: Path, store: Store = None, keys: Keys = None) -> None:
    """Copy the whole store to a file while it is in use."""
    from consumers.maintenance import back_up

    size = back_up(opening.open_ledger(store, keys), file)
    typer.echo(f"{file}: {size} entries (the keys are not in it: keep a copy of their folder elsewhere)")


@app.command()
@command
def restore(file: Path, store: Store = None, keys: Keys = None) -> None:
    """Make a store from a backup, and erase again whoever was erased since."""
    from consumers.maintenance import restore as run

    path = opening.store_path(store)
    restored = run(file, path, opening.keys_folder(path, keys))
    typer.echo(f"{restored.entries} entries restored, {restored.erased} persons erased again")
    if restored.foreign:
        typer.echo(f"  {restored.foreign} lines of the journals beside the keys are torn and were read past", err=True)
    if restored.behind is not None:
        typer.echo(f"  {restored.behind}", err=True)
        typer.echo("  it can be read; to write it without what is missing: consent-ledger recover", err=True)


@app.command()
@command
def recover(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log that goes on; its key name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go on with an older copy, as another log with a key of its own, where newer entries are lost for good."""
    from ledger.recovery import following
    from ledger.recovery import recover as run

    ledger = opening.open_ledger(store, keys)
    name = opening.log_name(origin) if origin is not None else following(ledger.app.origin)
    if not yes:
        typer.confirm(f"give up the log {ledger.app.origin} for good, and go on as {name}?", abort=True)
    done = run(ledger.app, ledger.clock(), name)
    if done.erased:
        typer.echo(f"{done.erased} persons erased again")
    typer.echo(f"log    {done.log}, {done.size} entries kept, {done.lost} lost")
    typer.echo(f"vkey   {done.vkey} (publish it: auditors verify with it what is recorded from now on)")
    for position in done.positions:
        typer.echo(f"entry {position} says so")


@app.command()
@command
def checkpoint(store: Store = None, keys: Keys = None) -> None:
    """Print the newest signed checkpoint."""
    app = opening.open_ledger(store, keys).app
    typer.echo(app.tell(app.current_head()).checkpoint, nl=False)


@app.command()
@command
def export(store: Store = None, keys: Keys = None, start: Annotated[int, typer.Option("--from", min=0)] = 0) -> None:
    """Print the exact bytes of every entry, one a line, from a position on."""
    ledger = opening.open_ledger(store, keys)
    while True:
        with ledger.app.reading() as c:
            c.execute("SELECT state FROM entries WHERE position>=? ORDER BY position LIMIT 1000", [start])
            rows = c.fetchall()
        if not rows:
            return
        sys.stdout.buffer.write(b"".join(row[0] + b"\n" for row in rows))
        start += len(rows)
