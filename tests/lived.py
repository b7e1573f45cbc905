"""A made-up life of a ledger, and all that it can be asked about it: for tests that compare stores."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from conftest import PACKS, event, ndjson

from consent_ledger.consumers import ingest as ingesting
from consent_ledger.consumers.demo.generator import NOW
from consent_ledger.ledger.errors import HoldStanding, InvalidQuestion
from consent_ledger.ledger.intake import dead_letters
from consent_ledger.ledger.intake.documents import add_document, documents
from consent_ledger.ledger.store import rows
from consent_ledger.ledger.times import parse_time

ASKED = 40  # persons
KEPT = ("state", "history", "recipients", "obligations", "findings")
QUESTIONS = (
    {"action": "contact", "purpose": "newsletter", "channel": "email"},
    {"action": "use", "purpose": "support"},
    {"action": "disclose", "purpose": "support", "recipient": "support-desk"},
)


def tell(ledger, clock, stream, batch=100):
    """Record a stream in batches, with letters, a text, an erasure and a letter that is dropped.

    `clock`: an object whose `now` says when each batch is told.
    """
    for body in PACKS.values():
        ledger.add_pack(body)
    add_document(ledger.app, b"what persons were shown", "text/plain")
    told = stream.told()
    for start in range(0, len(stream.events), batch):
        part = stream.events[start : start + batch]
        clock.now = told[start : start + batch][-1]
        broken = [line for place, line in sorted(stream.broken.items()) if start <= place < start + batch]
        ingesting.ingest(ledger, BytesIO(ndjson(*broken, *part)), "stream")
    clock.now = parse_time(NOW)
    ingesting.ingest(ledger, BytesIO(ndjson(*_rare())), "rare")
    *_, last = dead_letters.listed(ledger.app)
    dead_letters.drop(ledger.app, last.id)  # whose number nobody gets again
    for controller, subject in subjects(stream)[3::60]:
        with suppress(InvalidQuestion, HoldStanding):
            ledger.erase({"controller": controller, "subject": subject})


def _rare():
    """What a stream seldom has: a conflict that names somebody, an address of two, a letter of somebody deleted."""
    mail = {"email": "ann@lived.example"}
    moment = {"time": NOW, "source": "urn:lived"}
    return [
        event(id="1", subject="lived:1", personal=mail, **moment),
        event("subject.linked", id="1", subject="lived:1", personal={"other": "lived:2"}, **moment),
        event(id="2", subject="lived:3", personal=mail, **moment),
        event("optout.recorded", id="3", subject="lived:3", personal=mail, **moment),
        event("deletion.completed", {"request": None}, id="4", subject="lived:3", **moment),
        *(event(id=one, subject="lived:4", personal=mail, colour="blue", **moment) for one in "56"),
    ]


def subjects(stream):
    """(controller, subject) of everybody who is in a stream."""
    return sorted({(one["controller"], one["subject"]) for one in stream.events if isinstance(one.get("subject"), str)})


def answers(ledger, stream):
    """Decisions, read models, letters and texts, as they come."""
    everybody = subjects(stream)
    found = [ledger.refusals({"controller": controller}) for controller in sorted(PACKS)]
    for controller, subject in everybody[:: max(1, len(everybody) // ASKED)]:
        body = {"controller": controller, "subject": subject}
        try:
            found += [ledger.decide({**body, **asked}).to_dict() for asked in QUESTIONS]
            found += [getattr(ledger, name)(body) for name in KEPT]
        except InvalidQuestion as error:
            found.append(str(error))
    listed = dead_letters.listed(ledger.app)
    return [*found, listed, [dead_letters.text(ledger.app, one.id) for one in listed], documents(ledger.app)]


def contents(ledger):
    """Every row of every table, and which number the last dead letter had."""
    with ledger.app.reading() as c:
        found = {table: [row for page in rows.pages(c, table) for row in page] for table in rows.COPIED}
        return found | {"last letter": ledger.app.store.last_letter(c)}
