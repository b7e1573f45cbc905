"""Commands about proof, and about being forgotten: evidence, verify, erase."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    Controller,
    Json,
    Keys,
    Store,
    Subject,
    Who,
    answer,
    app,
    asked,
    auditor,
    command,
    examples,
    named,
)


@app.command(epilog=examples("evidence crm:1 -o evidence.zip", "evidence crm:1 --disclose email --disclose full_name"))
@command
def evidence(
    subject: Subject,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip to write.")] = Path("evidence.zip"),
    controller: Controller = None,
    disclose: Annotated[list[str] | None, typer.Option(help="A personal field to open; 'all' for every one.")] = None,
    as_: Who = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Write a zip about a person that anybody can check offline."""
    from consent_ledger.consumers.maintenance import write_evidence_for

    by_auditor = auditor(as_)
    ledger = opening.open_ledger(store, keys)
    who = asked(subject=subject, controller=controller)
    written = write_evidence_for(output, ledger, who, disclose or [], auditor=by_auditor)
    missing = sorted({*(disclose or [])} - {*written.opened, "all"})
    vkey, file = ledger.app.signer.vkey, named(output)
    lines = f"{file}: {written.size} bytes; check it with: consent-ledger verify {file} --key '{vkey}'"
    if missing:
        lines += f"\n  not opened, for none of that name is kept: {', '.join(map(repr, missing))}"
    said = {"file": file, "bytes": written.size, "vkey": vkey, "opened": written.opened, "not_opened": missing}
    answer(said, lines, json=json)


@app.command(epilog=examples('verify evidence.zip --key "$(cat vkey.txt)"', "verify --store sqlite:///shop.db"))
@command
def verify(
    file: Annotated[Path | None, typer.Argument(help="An evidence zip; without one the whole store.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The log's verifier key, from a source you trust.")] = None,
    witness: Annotated[list[str] | None, typer.Option("--witness", help="A witness that must have cosigned.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Check evidence, or a whole store. Exit 1 with one line that names what does not hold."""
    from consent_ledger.consumers.maintenance import check_copy, check_evidence, check_store
    from consent_ledger.consumers.mistakes import DoesNotHold
    from consent_ledger.ledger.log.verifier import Report
    from consent_ledger.ledger.proof.audit import StoreCorrupt, StoreReport

    if file is None and witness:
        raise typer.BadParameter("is about an evidence zip: name its file", param_hint="--witness")
    only_log = file is None and key is not None and opening.keys_are_elsewhere(store, keys)
    try:
        if file is None and key is not None and only_log:
            report: Report | StoreReport = check_copy(store, key)
        elif file is None:
            report = check_store(opening.open_ledger(store, keys), key)
        elif key is None:
            raise typer.BadParameter("is needed: the log's verifier key, from a source you trust", param_hint="--key")
        else:
            report = check_evidence(file, key, witness or [])
    except StoreCorrupt as error:
        raise DoesNotHold(str(error)) from None
    said = str(report)
    more = "\nonly the log was looked at: what is sealed, and whether tables follow from the log, wants the keys"
    known = {"only_log": only_log} if file is None else {}
    document = {"holds": True, "says": said.partition("\n")[0], **asdict(report), **known}
    answer(document, said + more if only_log else said, json=json)


@app.command(epilog=examples("erase crm:1", "erase crm:1 --controller shop --yes"))
@command
def erase(
    subject: Subject,
    controller: Controller = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Erase a person: names, fields and keys. The history stays provable, no longer to whom."""
    if not yes:
        typer.confirm(f"Erase {show.harmless(subject)} for good?", abort=True, err=json)
    ledger = opening.open_ledger(store, keys)
    done = ledger.erase(asked(subject=subject, controller=controller))
    left = ledger.app.unscrubbed
    if json:
        show.print_json({**done._asdict(), "unscrubbed": left and show.harmless(left.why)})
    elif done.positions:
        show.say(f"erased; entry {', '.join(map(str, done.positions))} says so")
    else:
        show.say("erased; no entry was about them, so none says so")
    if (done.letters or done.refused) and not json:
        show.say(f"  with it: dead letters {done.letters}, names and digests of refused events {done.refused}")
    if left is not None:
        show.complain(f"  erased; the files are still to be scrubbed: {show.harmless(left.why)}")
