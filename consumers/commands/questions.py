"""Commands that ask: decide, state, and the read models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consumers import opening, show
from consumers.commands.shared import (
    At,
    Controller,
    Json,
    Keys,
    KnownAt,
    SomeSubject,
    Store,
    Subject,
    Who,
    app,
    asked,
    auditor,
    command,
)
from ledger.errors import InvalidQuestion
from projections.ledger import Ledger


@app.command()
@command
def decide(
    subject: Annotated[str | None, typer.Argument(help="The person; or leave it out and give --from.")] = None,
    action: Annotated[str | None, typer.Option(help="collect, use, contact, disclose, transfer or request.")] = None,
    controller: Controller = None,
    purpose: str | None = None,
    category: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    recipient: str | None = None,
    channel: str | None = None,
    list_: Annotated[str | None, typer.Option("--list")] = None,
    item: str | None = None,
    service: str | None = None,
    ground: str | None = None,
    country: str | None = None,
    transfer: str | None = None,
    role: str | None = None,
    of: str | None = None,
    at: At = None,
    known_at: KnownAt = None,
    questions: Annotated[str | None, typer.Option("--from", help="NDJSON file of questions, or -.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """May I? Answer one question, or each line of a file. Exit 1 where the answer is no."""
    ledger = opening.open_ledger(store, keys)
    if questions is not None:
        _decide_many(ledger, questions)
        return
    body = asked(
        subject=subject, action=action, controller=controller, purpose=purpose, categories=category or None,
        recipient=recipient, channel=channel, list=list_, item=item, service=service, ground=ground, country=country,
        transfer=transfer, role=role, of=of, at=at, known_at=known_at,
    )  # fmt: skip
    answer = ledger.decide(body)
    if json:
        show.print_json(answer.to_dict())
    else:
        show.print_answer(answer)
    if answer.outcome == "deny":
        raise typer.Exit(1)


def _decide_many(ledger: Ledger, questions: str) -> None:
    import orjson

    stream = sys.stdin.buffer if questions == "-" else Path(questions).open("rb")  # noqa: SIM115  closed with the process
    for line in stream:
        sys.stdout.buffer.write(orjson.dumps(_answered(ledger, line)) + b"\n")


def _answered(ledger: Ledger, line: bytes) -> dict[str, Any]:
    from ledger.incoming import parse_json

    try:
        body = parse_json(line)
    except ValueError as error:
        return {"invalid": "question", "reason": str(error)}
    try:
        return ledger.decide(body).to_dict()
    except InvalidQuestion as error:
        return {"invalid": error.field, "reason": error.message}


def _read_model(name: str, columns: tuple[str, ...], *, auditable: bool = False) -> None:
    """Register one read model as a command."""

    @command
    def run(
        subject: SomeSubject = None,
        controller: Controller = None,
        at: At = None,
        known_at: KnownAt = None,
        as_: Who = None,
        store: Store = None,
        keys: Keys = None,
        json: Json = False,
    ) -> None:
        ledger = opening.open_ledger(store, keys)
        body = asked(subject=subject, controller=controller, at=at, known_at=known_at)
        more = {"auditor": auditor(as_)} if auditable else {}
        rows = getattr(ledger, name)(body, **more)
        if json:
            show.print_json(rows)
        else:
            show.print_rows(f"{name} of {subject or 'all'}", rows, columns)

    app.command(name, help=_HELP[name])(run)


_HELP: Final = {
    "obligations": "What is owed, to a person or to all.",
    "findings": "What was done against the policy, towards a person or all.",
    "recipients": "Who holds what of a person, since when, whether it is stale.",
    "history": "What is on record of a person, in the order in which it was in force.",
    "refusals": "What was refused at the door, conflicts included.",
}
_read_model("obligations", ("kind", "clause", "status", "opened", "due", "missing", "request", "recipient"))
_read_model("findings", ("time", "clause", "event", "position", "known_then", "reason"))
_read_model("recipients", ("recipient", "categories", "since", "ground", "stale", "to_tell", "clause"), auditable=True)
_read_model("history", ("position", "time", "type", "data", "personal"), auditable=True)
_read_model("refusals", ("time", "controller", "clause", "event_type", "source", "event_id", "reason"))


@app.command()
@command
def state(
    subject: Subject,
    controller: Controller = None,
    at: At = None,
    known_at: KnownAt = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """The state of a person."""
    ledger = opening.open_ledger(store, keys)
    document = ledger.state(asked(subject=subject, controller=controller, at=at, known_at=known_at))
    if json:
        show.print_json(document)
        return
    plain = [{"field": name, "value": value} for name, value in document.items() if name not in ("choices", "optouts")]
    show.print_rows(f"state of {subject}", plain, ("field", "value"))
    show.print_rows("choices", document["choices"], ("since", "word", "basis", "purpose", "list", "item", "recipients"))
    show.print_rows("opt-outs", document["optouts"], ("since", "scope", "name"))
