"""Commands that ask: decide, state, and the read models."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Any, Final, NamedTuple

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    NO,
    At,
    Controller,
    Csv,
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
    examples,
    form,
)
from consent_ledger.consumers.cli.commands.stores import standard_input
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.times import format_time
from consent_ledger.projections.decision.question import parse_about
from consent_ledger.projections.ledger import Ledger

Row = dict[str, Any]


@app.command(
    epilog=examples(
        "decide crm:1 --action contact --purpose newsletter --list news --channel email",
        "decide crm:1 --action disclose --recipient mail-house --category email --at 2026-03-01T00:00:00Z",
        "decide --from questions.ndjson",
    )
)
@command
def decide(
    subject: Annotated[str | None, typer.Argument(help="The person; or leave it out and give --from.")] = None,
    action: Annotated[str | None, typer.Option(help="collect, use, contact, disclose, transfer or request.")] = None,
    controller: Controller = None,
    purpose: Annotated[str | None, typer.Option(help="A word of the pack.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="A word of the pack; may be given several times.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Who would get it; none: the public.")] = None,
    channel: Annotated[str | None, typer.Option(help="email, sms, telephone, post or web.")] = None,
    list_: Annotated[str | None, typer.Option("--list", help="A mailing list.")] = None,
    item: Annotated[str | None, typer.Option(help="A thing, such as a testimonial or a version.")] = None,
    service: Annotated[str | None, typer.Option(help="A service.")] = None,
    ground: Annotated[str | None, typer.Option(help="law, dispute, law-enforcement or rights.")] = None,
    country: Annotated[str | None, typer.Option(help="Another country than the one of collection.")] = None,
    transfer: Annotated[str | None, typer.Option(help="The name of a change of owner.")] = None,
    role: Annotated[str | None, typer.Option(help="processor, with --of.")] = None,
    of: Annotated[str | None, typer.Option(help="For whom.")] = None,
    at: At = None,
    known_at: KnownAt = None,
    questions: Annotated[str | None, typer.Option("--from", help="NDJSON file of questions, or -.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """May I? Answer one question, or each line of a file. Exit 1 where the answer is not yes."""
    body = asked(
        subject=subject, action=action, controller=controller, purpose=purpose, categories=category or None,
        recipient=recipient, channel=channel, list=list_, item=item, service=service, ground=ground, country=country,
        transfer=transfer, role=role, of=of, at=at, known_at=known_at,
    )  # fmt: skip
    if questions is not None and body:
        raise typer.BadParameter("each question stands in its line: give nothing beside it", param_hint="--from")
    ledger = opening.open_ledger(store, keys)
    if questions is not None:
        _decide_many(ledger, questions)
        return
    answer = ledger.decide(body)
    if json:
        show.print_json(answer.to_dict())
    else:
        show.print_answer(answer, when=show.moments(answer.at, None if known_at is None else answer.known_at))
    if not answer.permitted:
        raise typer.Exit(NO)


def _decide_many(ledger: Ledger, questions: str) -> None:
    stream: IO[bytes] = standard_input() if questions == "-" else Path(questions).open("rb")  # noqa: SIM115  closed with the process
    for number, line in enumerate(stream):
        show.print_json_line(_answered(ledger, line if number else line.removeprefix(BOM_UTF8)))


def _answered(ledger: Ledger, line: bytes) -> Row:
    from consent_ledger.ledger.intake.parse import parse_json

    try:
        body = parse_json(line)
    except ValueError as error:
        return {"invalid": "question", "reason": str(error)}
    try:
        return ledger.decide(body).to_dict()
    except InvalidQuestion as error:
        return {"invalid": error.field, "reason": error.message}


# -- read models -------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    return "\uffff" if value is None else str(value)  # what is not there comes last


_URGENT: Final = ("overdue", "running", "awaiting-identification", "next-steps-sent", "on-hold", "done")


def _by_urgency(row: Row) -> tuple[Any, ...]:
    status = row["status"]
    place = _URGENT.index(status) if status in _URGENT else len(_URGENT)
    return place, _text(row.get("due")), _text(row.get("opened")), _text(row.get("person"))


class Model(NamedTuple):
    """A read model as a command: what its help says, the columns of its table, how its rows are ordered."""

    says: str
    columns: tuple[str, ...]
    order: Callable[[Row], tuple[Any, ...]]
    auditable: bool = False


_MODELS: Final = {
    "obligations": Model(
        "What is owed, to a person or to all: what is overdue first, then by when it is due.",
        ("kind", "clause", "status", "opened", "due", "missing", "request", "recipient"),
        _by_urgency,
    ),
    "findings": Model(
        "What was done against the policy, towards a person or all.",
        ("time", "clause", "event", "position", "known_then", "reason"),
        lambda row: (row["time"], row["position"]),
    ),
    "recipients": Model(
        "Who holds what of a person, since when, whether it is stale.",
        ("recipient", "categories", "since", "ground", "stale", "to_tell", "clause"),
        lambda row: (_text(row["recipient"]), row["since"], row["person"]),
        auditable=True,
    ),
    "history": Model(
        "What is on record of a person, in the order in which it was in force.",
        ("position", "time", "recorded_at", "type", "source", "actor", "data", "personal"),
        lambda row: (row["time"], row["position"]),
        auditable=True,
    ),
    "refusals": Model(
        "What was refused at the door, conflicts included.",
        ("time", "controller", "clause", "event_type", "source", "event_id", "reason"),
        lambda row: (row["time"], row["position"]),
    ),
}


_UNNARROWED: Final = "all (a refusal holds no name)"


def _register(name: str, model: Model) -> None:
    """Make a read model a command."""

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
        csv: Csv = False,
    ) -> None:
        how = form(json=json, csv=csv)
        more = {"auditor": auditor(as_)} if model.auditable else {}
        ledger = opening.open_ledger(store, keys)
        body, when = _as_of(ledger, asked(subject=subject, controller=controller, at=at, known_at=known_at))
        rows = sorted(getattr(ledger, name)(body, **more), key=model.order)
        whose = ("person",) if subject is None and name != "refusals" else ()
        about = _UNNARROWED if name == "refusals" and subject is not None else subject or "all"
        title = f"{name} of {about}, {when}"
        show.print_rows(title, rows, (*whose, *model.columns), how)

    ends = examples(f"{name} crm:1", f"{name} --at 2026-03-01T00:00:00Z --csv > {name}.csv")
    app.command(name, help=model.says, epilog=ends)(run)


for _name, _model in _MODELS.items():
    _register(_name, _model)


_LIMITS: Final = ("categories", "recipients", "channels", "expires_at")  # a choice without them is about all of it


def _as_of(ledger: Ledger, body: Row) -> tuple[Row, str]:
    """The body with its moment in it, and which moments those are, in words."""
    question = parse_about(body)
    at = ledger.clock() if question.at is None else question.at
    return {**body, "at": format_time(at)}, show.moments(at, question.known_at)


@app.command(epilog=examples("state crm:1", "state crm:1 --at 2026-03-01T00:00:00Z --json"))
@command
def state(
    subject: Subject,
    controller: Controller = None,
    at: At = None,
    known_at: KnownAt = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """The state of a person."""
    how = form(json=json, csv=csv)
    ledger = opening.open_ledger(store, keys)
    body, when = _as_of(ledger, asked(subject=subject, controller=controller, at=at, known_at=known_at))
    document = ledger.state(body)
    if json:
        show.print_json(document)
        return
    tables = () if csv else ("choices", "optouts")  # in CSV they are fields as all others
    plain = [{"field": name, "value": value} for name, value in document.items() if name not in tables]
    show.print_rows(f"state of {subject}, {when}", plain, ("field", "value"), how)
    if not csv:
        said = [name for name in _LIMITS if any(name in choice for choice in document["choices"])]
        columns = ("since", "word", "basis", "purpose", "list", "item", *said)
        show.print_rows("choices", document["choices"], columns)
        show.print_rows("opt-outs", document["optouts"], ("since", "scope", "name"))
