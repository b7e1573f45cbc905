"""Commands about a store as a whole: make it, fill it, look after it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    NO,
    Controller,
    Csv,
    Json,
    Keys,
    Store,
    answer,
    app,
    command,
    examples,
    form,
    named,
)
from consent_ledger.ledger.errors import StoreReadOnly
from consent_ledger.ledger.intake.opened import READ_ONLY
from consent_ledger.ledger.store.tables import entries


@app.command(epilog=examples("init --store sqlite:///shop.db --origin shop.example/consent"))
@command
def init(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log; its key name.")] = None,
    json: Json = False,
) -> None:
    """Make a new store and its keys."""
    ledger = opening.create_ledger(store, keys, origin=origin)
    where, folder = named(ledger.app.where), named(opening.folder_of_keys(store, keys))
    log, vkey = ledger.app.origin, ledger.app.signer.vkey
    lines = (
        f"store  {where}\n"
        f"keys   {folder} (keep them apart from the store)\n"
        f"log    {log}\n"
        f"vkey   {vkey} (publish it: auditors verify with it)"
    )
    answer({"store": where, "keys": folder, "log": log, "vkey": vkey}, lines, json=json)


@app.command(epilog=examples("grants --store 'postgresql://db/app?schema=shop' > roles.sql"))
@command
def grants(store: Store = None, json: Json = False) -> None:
    """Print the SQL that makes the roles of a store in PostgreSQL and says what each may do. It can be run again."""
    sql = opening.grants(store)
    if json:
        show.print_json({"sql": sql})
    else:
        show.write(sql.encode())


@app.command(epilog=examples("vkey > vkey.txt", "vkey --json"))
@command
def vkey(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Print the log's verifier key: publish it, auditors verify with it."""
    log = opening.open_ledger(store, keys).app
    answer({"log": log.origin, "vkey": log.signer.vkey}, log.signer.vkey, json=json)


def standard_input() -> IO[bytes]:
    """Standard input. Raises typer.BadParameter where it is closed."""
    if sys.stdin is None:
        raise typer.BadParameter("standard input is closed: name a file")
    return sys.stdin.buffer


@app.command(epilog=examples("ingest events.ndjson", "ingest - < events.ndjson"))
@command
def ingest(
    file: Annotated[str, typer.Argument(help="NDJSON file, or - for standard input.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Record a stream of events. Run it again after an interruption: nothing is added twice."""
    from consent_ledger.consumers.ingest import ingest as run

    ledger = opening.open_ledger(store, keys)
    if file == "-":
        with show.progress("ingest", None) as progress:
            tally = run(ledger, standard_input(), "stdin", progress=progress)
    else:
        path = Path(file)
        with path.open("rb") as stream, show.progress("ingest", None) as progress:
            tally = run(ledger, stream, named(path.name), progress=progress)
    counts = tally.to_dict()
    answer({**counts, "problems": tally.problems}, ", ".join(f"{n} {name}" for name, n in counts.items()), json=json)
    if json:
        return
    for problem in tally.problems:
        show.complain(f"  {show.harmless(problem)}")
    if tally.invalid:
        show.complain("  what was invalid is kept: consent-ledger dead-letters list")


@app.command(
    "import",
    epilog=examples("import consents.csv", "import consents.csv --controller shop --write", "import - --delimiter ';'"),
)
@command
def import_(
    file: Annotated[str, typer.Argument(help="CSV file with a header, or - for standard input.")],
    write: Annotated[bool, typer.Option("--write", help="Record them; without it nothing is written.")] = False,
    controller: Controller = None,
    delimiter: Annotated[str, typer.Option(help="What stands between cells.")] = ",",
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Take over existing consents from CSV, a row each. First it only says what it would record, and what is wrong."""
    from consent_ledger.consumers.files import importing

    how = form(json=json, csv=csv)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise typer.BadParameter("wants one character", param_hint="--delimiter")
    ledger = opening.open_ledger(store, keys)
    stream = standard_input() if file == "-" else Path(file).open("rb")  # noqa: SIM115  closed with the process
    with show.progress("import", None) as progress:
        report = importing.run(ledger, stream, controller, delimiter, write=write, progress=progress)
    if json:
        show.print_json(report.to_dict())
    else:
        if not csv:
            show.say(str(report))
            show.print_rows("recorded" if write else "to record", report.groups(), importing.GROUPED)
        if report.problems or csv:
            show.print_rows("problems", report.problems, ("row", "column", "problem"), how)
    if report.problems:
        raise typer.Exit(NO)


@app.command(epilog=examples("doctor", "doctor --json"))
@command
def doctor(store: Store = None, keys: Keys = None, json: Json = False, csv: Csv = False) -> None:
    """Look whether everything is as it should be, and finish what was interrupted."""
    from consent_ledger.consumers.maintenance import examine

    how = form(json=json, csv=csv)
    checks = examine(opening.open_ledger(store, keys))
    show.print_rows("doctor", checks, ("check", "ok", "says"), how)
    if not all(check["ok"] for check in checks):
        raise typer.Exit(NO)


@app.command(epilog=examples("rebuild"))
@command
def rebuild(store: Store = None, keys: Keys = None, json: Json = False, csv: Csv = False) -> None:
    """Fold all projections anew, compare them with the old ones and put them in their place."""
    from consent_ledger.projections.read.projector import rebuild as run

    how = form(json=json, csv=csv)
    ledger = opening.open_ledger(store, keys)
    place = ledger.projector.place
    if place is None:
        raise StoreReadOnly(f"{ledger.app.where}: is open for reading only: {READ_ONLY[ledger.app.how]}")
    ledger.projector.close()
    size = ledger.app.current_head().size
    with show.progress("rebuild", size) as progress:
        folded, differences = run(ledger.app, place, progress)
    rows = [{"person": one.person, "what": one.what} for one in differences]
    if json:
        show.print_json({"folded": folded, "differences": rows})
    elif csv:
        show.print_rows("differences", rows, ("person", "what"), how)
    else:
        show.say(f"{folded} entries folded, {len(rows)} persons differ from before")
        if rows:
            show.print_rows("differences", rows, ("person", "what"))
    if rows:
        raise typer.Exit(NO)


@app.command(epilog=examples("checkpoint > checkpoint.txt"))
@command
def checkpoint(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Print the newest signed checkpoint."""
    log = opening.open_ledger(store, keys).app
    head = log.tell(log.current_head())
    document = {"log": log.origin, "size": head.size, "root": head.root.hex(), "checkpoint": head.checkpoint}
    if json:
        show.print_json(document)
    else:
        show.write(head.checkpoint.encode())


@app.command(epilog=examples("export > entries.ndjson", "export --from 1000"))
@command
def export(
    store: Store = None,
    keys: Keys = None,
    start: Annotated[int, typer.Option("--from", min=0, max=2**63 - 1, help="The first position.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a line for each.")] = False,
) -> None:
    """Print the exact bytes of every entry, one a line, from a position on."""
    log = opening.open_ledger(store, keys).app
    begin, between, end = (b"[", b",\n", b"]\n") if json else (b"", b"\n", b"")
    show.write(begin)
    first = True
    while True:
        with log.reading() as c:
            rows = [state for _, state in entries.page(c, start, 1000)]
        if not rows:
            break
        show.write((b"" if first else between) + between.join(rows))
        start, first = start + len(rows), False
    show.write(end or (b"" if first else between))
