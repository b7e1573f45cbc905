"""Commands about copies of a store: make one, make a store of one, go on with one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import Json, Keys, Store, answer, app, command, examples, named


@app.command(epilog=examples("backup monday.db"))
@command
def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Copy the whole store to a file while it is in use."""
    size = opening.open_ledger(store, keys).backup(file)
    lines = f"{named(file)}: {size} entries (the keys are not in it: keep a copy of their folder elsewhere)"
    answer({"file": named(file), "entries": size}, lines, json=json)


@app.command(epilog=examples("restore monday.db --store sqlite:///restored.db --keys shop.db.keys"))
@command
def restore(
    file: Annotated[Path, typer.Argument(help="A backup, or a store with its write-ahead log beside it.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Make a store from a backup, and erase again whoever was erased since."""
    from consent_ledger.consumers.maintenance import restore as run

    path = opening.store_path(store)
    restored = run(file, path, opening.keys_folder(path, keys))
    document = {**restored._asdict(), "behind": restored.behind and show.harmless(restored.behind)}
    answer(document, f"{restored.entries} entries restored, {restored.erased} persons erased again", json=json)
    if restored.foreign:
        show.complain(f"  {restored.foreign} lines of the journals beside the keys are torn and were read past")
    if restored.behind is not None:
        show.complain(f"  {show.harmless(restored.behind)}")
        show.complain("  it can be read; to write it without what is missing: consent-ledger recover")


@app.command(
    "copy",
    epilog=examples("copy sqlite:///shop.db 'postgresql://ledger@db/consent?schema=shop'"),
)
@command
def copy_(
    source: Annotated[str, typer.Argument(help="A store: sqlite:///PATH or postgresql://...")],
    target: Annotated[str, typer.Argument(help="A new one, of either kind.")],
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Make another store with all that is in one, of another kind or the same, to go on there with the same keys."""
    from consent_ledger.consumers.moving import copy

    with show.progress("copy", None) as progress:
        copied = copy(source, target, keys, progress)
    document = {name: named(value) if isinstance(value, str) else value for name, value in copied._asdict().items()}
    lines = (
        f"{document['store']}: {copied.entries} entries, checked (from now on use one of the two stores: the one that "
        "is written next goes on, the other can then only be read)\n"
        f"keys   {document['keys']} (those of both: give them with --keys, and make no copy of them to write with)"
    )
    answer(document, lines, json=json)
    if copied.erased:
        show.complain(f"  {copied.erased} persons erased meanwhile, and in the copy")
    if document["behind"] is not None:
        show.complain(f"  {document['behind']}")
        show.complain("  it can only be read: stop what writes the store, and copy it once more")


@app.command(epilog=examples("recover", "recover --origin shop.example/consent/2 --yes"))
@command
def recover(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log that goes on; its key name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Go on with an older copy, as another log with a key of its own, where newer entries are lost for good."""
    from consent_ledger.ledger.intake.recovery import following
    from consent_ledger.ledger.intake.recovery import recover as run

    ledger = opening.open_ledger(store, keys)
    name = opening.log_name(origin) if origin is not None else following(ledger.app.origin)
    if not yes:
        log = show.harmless(ledger.app.origin)
        typer.confirm(f"give up the log {log} for good, and go on as {show.harmless(name)}?", abort=True, err=json)
    done = run(ledger.app, ledger.clock(), name)
    if json:
        show.print_json(done._asdict())
        return
    if done.erased:
        show.say(f"{done.erased} persons erased again")
    show.say(f"log    {done.log}, {done.size} entries kept, {done.lost} lost")
    show.say(f"vkey   {done.vkey} (publish it: auditors verify with it what is recorded from now on)")
    for position in done.positions:
        show.say(f"entry {position} says so")
