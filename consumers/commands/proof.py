"""Commands about proof, and about being forgotten: evidence, verify, erase."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumers import opening
from consumers.commands.shared import Controller, Keys, Store, Subject, Who, app, asked, auditor, command


@app.command()
@command
def evidence(
    subject: Subject,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip to write.")] = Path("evidence.zip"),
    controller: Controller = None,
    disclose: Annotated[list[str] | None, typer.Option(help="A personal field to open; 'all' for every one.")] = None,
    as_: Who = None,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Write a zip about a person that anybody can check offline."""
    from consumers.maintenance import write_evidence_for

    ledger = opening.open_ledger(store, keys)
    who = asked(subject=subject, controller=controller)
    size = write_evidence_for(output, ledger, who, disclose or [], auditor=auditor(as_))
    typer.echo(
        f"{output}: {size} bytes; check it with: consent-ledger verify {output} --key '{ledger.app.signer.vkey}'"
    )


@app.command()
@command
def verify(
    file: Annotated[Path | None, typer.Argument(help="An evidence zip; without one the whole store.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The log's verifier key, from a source you trust.")] = None,
    witness: Annotated[list[str] | None, typer.Option("--witness", help="A witness that must have cosigned.")] = None,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Check evidence, or a whole store. Exit 1 with one line that names what does not hold."""
    from consumers.maintenance import check_evidence, check_store

    if file is None:
        typer.echo(check_store(opening.open_ledger(store, keys), key))
        return
    if key is None:
        typer.echo("consent-ledger: --key: is needed: the log's verifier key, from a source you trust", err=True)
        raise typer.Exit(2)
    typer.echo(check_evidence(file, key, witness or []))


@app.command()
@command
def erase(
    subject: Subject,
    controller: Controller = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Erase a person: names, fields and keys. The history stays provable, no longer to whom."""
    if not yes:
        typer.confirm(f"Erase {subject} for good?", abort=True)
    ledger = opening.open_ledger(store, keys)
    done = ledger.erase(asked(subject=subject, controller=controller))
    if done.positions:
        typer.echo(f"erased; entry {', '.join(map(str, done.positions))} says so")
    else:
        typer.echo("erased; no entry was about them, so none says so")
    if done.letters or done.refused:
        typer.echo(f"  with it: dead letters {done.letters}, names and digests of refused events {done.refused}")
    if ledger.app.unscrubbed is not None:
        typer.echo(f"  erased; the files are still to be scrubbed: {ledger.app.unscrubbed.why}", err=True)
