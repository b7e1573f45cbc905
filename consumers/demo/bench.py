"""Measurements, all of one run on one machine: our paths against a peer or a limit, as ratios.

The peers: raw `executemany` of the same entry bytes with the same durability; the event sourcing library's stock
`Application.save` of the same facts; raw rows through orjson and pydantic.
"""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import orjson
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from consent_ledger.consumers import show
from consent_ledger.consumers.demo.generator import bench_events
from consent_ledger.consumers.opening import create_ledger, open_ledger, open_to_read, shipped_packs
from consent_ledger.ledger.events.catalogue import validate
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.projections.ledger import Ledger
from consent_ledger.projections.replay.rehearsal import Compared, Rehearsal

BATCHES: Final = (1, 100, 1_000)
SINGLES: Final = 1_000  # events sent one by one
WARM: Final = 20_000
PERSONS: Final = (10, 100, 1_000)
REHEARSED: Final = 20  # people of whom every question is asked
T = TypeVar("T")


@dataclass(slots=True)
class Report:
    """Rows of (what, figure, unit, against what, ratio)."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, what: str, figure: float, unit: str, against: str = "", ratio: float | None = None) -> float:
        row = {"what": what, "figure": f"{figure:,.0f}", "unit": unit, "against": against}
        self.rows.append({**row, "ratio": f"{ratio:.2f}" if ratio is not None else ""})
        return figure


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(events: int, form: show.Form) -> None:
    """Measure everything and print it."""
    stream = list(bench_events(events, 7))
    report = Report()
    with tempfile.TemporaryDirectory(prefix="consent-ledger-bench-") as temporary:
        folder = Path(temporary)
        _intake(report, stream, folder)
        ledger = open_ledger(f"sqlite:///{folder / 'batch-1000.db'}")
        _decisions(report, ledger, stream, folder)
        _rehearsal(report, ledger, folder)
        _rebuild(report, ledger)
        _size(report, ledger, len(stream), folder)
    report.add("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")
    show.print_rows(f"{events:,} events", report.rows, ("what", "figure", "unit", "against", "ratio"), form)


# -- intake ------------------------------------------------------------------------------------------------------------


def _intake(report: Report, stream: list[dict[str, Any]], folder: Path) -> None:
    ours = {}
    rows: list[tuple[Any, ...]] = []
    for batch in BATCHES:
        some = stream if batch > 1 else stream[: SINGLES + 1]
        ledger = create_ledger(f"sqlite:///{folder / f'batch-{batch}.db'}")
        ledger.app.add_pack(shipped_packs()["parature"])
        seconds = timed(lambda ledger=ledger, some=some, batch=batch: record_all(ledger, some, batch))  # type: ignore[misc]
        ours[batch] = len(some) / seconds
        if batch != BATCHES[-1]:
            ledger.app.close()
        else:
            with ledger.app.reading() as c:
                c.execute("SELECT * FROM entries")
                rows = c.fetchall()
            ledger.app.close()
    raw = {batch: _raw(rows, batch, folder) for batch in BATCHES}
    environment = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "stock.db")}
    stock = len(stream) / timed(lambda: stock_save(environment, stream, BATCHES[-1]))
    for batch in BATCHES:
        ratio = ours[batch] / raw[batch]
        report.add(f"intake, batches of {batch:,}", ours[batch], "events/s", "raw executemany", ratio)
        report.add(f"  raw executemany, batches of {batch:,}", raw[batch], "events/s")
    report.add("  stock Application.save, batches of 1,000", stock, "events/s")
    report.add("intake, batches of 1,000", ours[1000], "events/s", "stock save", ours[1000] / stock)


def batches(some: list[T], batch: int) -> Iterator[list[T]]:
    """Parts of a list, each of so many."""
    for start in range(0, len(some), batch):
        yield some[start : start + batch]


def record_all(ledger: Ledger, stream: list[dict[str, Any]], batch: int) -> None:
    """Record events in batches. Requires that all are good."""
    for part in batches(stream, batch):
        outcomes = ledger.record(part)
        assert all(one.kind == "accepted" for one in outcomes), outcomes


def _raw(rows: list[tuple[Any, ...]], batch: int, folder: Path) -> float:
    """The same entry bytes into the same table, with the same durability, and nothing else."""
    some = rows if batch > 1 else rows[:SINGLES]
    db = sqlite3.connect(folder / f"raw-{batch}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE entries (position INTEGER PRIMARY KEY, stream, version, type, leaf, state)")
    db.execute("CREATE UNIQUE INDEX entries_by_stream ON entries (stream, version)")

    def write() -> None:
        for start in range(0, len(some), batch):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?)", some[start : start + batch])
            db.execute("COMMIT")

    seconds = timed(write)
    db.close()
    return len(some) / seconds


class _Person(Aggregate):
    """The library's own aggregate, for its stock save."""

    @event("Told")
    def tell(self, kind: str, data: dict[str, Any]) -> None:
        self.last = (kind, data)


def stock_save(environment: dict[str, str], stream: list[dict[str, Any]], batch: int) -> None:
    """The same facts through the library's own application, in the same batches."""
    app: Application[UUID] = Application(environment)
    people: dict[str, _Person] = {}
    for part in batches(stream, batch):
        touched = {}
        for body in part:
            subject = body.get("subject", "controller")
            person = people.get(subject)
            if person is None:
                person = people[subject] = _Person()
            person.tell(body["type"], body["data"])
            touched[subject] = person
        app.save(*touched.values())
    app.close()


# -- decisions ---------------------------------------------------------------------------------------------------------


def _question(subject: str) -> dict[str, Any]:
    named = {"purpose": "newsletter", "list": "product-news", "channel": "email"}
    return {"controller": "parature", "subject": subject, "action": "contact", **named}


def _decisions(report: Report, ledger: Ledger, stream: list[dict[str, Any]], folder: Path) -> None:
    subjects = sorted({body["subject"] for body in stream if "subject" in body})[:2_000]
    questions = [_question(subject) for subject in subjects]
    for question in questions:
        ledger.decide(question)

    def warm() -> None:
        for number in range(WARM):
            ledger.decide(questions[number % len(questions)])

    report.add(
        "decisions, warm in process", WARM / timed(warm), "decisions/s", "aim 20,000", WARM / timed(warm) / 20_000
    )
    for what, fold in (("cold, folding entries", False), ("cold, from the projection", True)):
        if fold:
            ledger.projector.catch_up()

        def cold() -> None:
            for question in questions:
                ledger.people.forget()
                ledger.decide(question)

        report.add(f"decisions, {what}", len(questions) / timed(cold), "decisions/s")
    _by_length(report, folder)


def _by_length(report: Report, folder: Path) -> None:
    """A warm decision by the number of events of the person, and one about the past."""
    ledger = create_ledger(f"sqlite:///{folder / 'lengths.db'}")
    ledger.app.add_pack(shipped_packs()["parature"])
    first = {**next(iter(bench_events(1, 7))), "time": "2020-01-01T00:00:00Z"}
    ledger.record([first])
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("service.used", {"service": "desk"}),
        ("consent.granted", {"purpose": "newsletter", "list": "product-news", "basis": "express"}),
        ("message.sent", {"purpose": "newsletter", "list": "product-news", "channel": "email"}),
        ("consent.withdrawn", {"purpose": "newsletter", "list": "other-news"}),
    ]
    for length in PERSONS:
        events = []
        for number in range(length):
            kind, data = kinds[number % 4]
            minute, second = divmod(number, 60)
            moment = f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:{second:02d}Z"
            named = {"id": uuid4().hex, "source": "urn:bench", "subject": f"p:{length}", "controller": "parature"}
            events.append({"specversion": "1.0", "type": kind, "time": moment, "data": data, **named})
        ledger.record(events)
    base = 0.0
    for length in PERSONS:
        question = _question(f"p:{length}")
        ledger.decide(question)
        rate = 5_000 / timed(lambda question=question: [ledger.decide(question) for _ in range(5_000)])  # type: ignore[misc]
        base = base or rate
        report.add(f"  warm, person with {length:,} events", rate, "decisions/s", "one with 10", rate / base)
    for length in PERSONS:
        past = {**_question(f"p:{length}"), "at": "2026-01-01T00:00:05Z"}
        rate = 50 / timed(lambda past=past: [ledger.decide(past) for _ in range(50)])  # type: ignore[misc]
        what = f"  of the past, person with {length:,} events"
        report.add(what, rate, "decisions/s", "one of now, with 10", rate / base)
    ledger.app.close()


# -- rehearsal ---------------------------------------------------------------------------------------------------------


def _rehearsal(report: Report, ledger: Ledger, folder: Path) -> None:
    """Two packs compared, against asking every question warm, one by one, by each of them."""
    body = shipped_packs()["parature"]
    words = b'purpose = ["account-administration", '
    assert words in body
    old, new = load_pack(body), load_pack(body.replace(words, b"purpose = [", 1))
    reading = open_to_read(f"sqlite:///{folder / 'batch-1000.db'}")
    now = reading.clock()
    everything = Rehearsal(reading, old, new, at=now, prune=False)
    some = everything.streams[:REHEARSED]
    bodies = [
        {"controller": "parature", "subject": person, **asking.body()}
        for person in some
        for asking in everything.questions_about(person)
    ]
    limit = len(some) / timed(lambda: [ledger.decide(one) for one in bodies]) / 2
    for what, after in (("packs alike", old), ("a use less, for everybody", new)):
        rehearsal = Rehearsal(reading, old, after, at=now)
        found: list[Compared] = []
        rate = len(rehearsal.streams) / timed(lambda run=rehearsal.run, found=found: found.extend(run()))  # type: ignore[misc]
        changed = sum(bool(one.changes) for one in found)
        row = f"pack diff, {what} ({changed:,} of {len(found):,} change)"
        report.add(row, rate, "people/s", "all questions asked warm", rate / limit)
    report.add("  all questions asked warm", limit, "people/s")
    reading.close()


# -- rebuild, size -----------------------------------------------------------------------------------------------------


def _rebuild(report: Report, ledger: Ledger) -> None:
    from consent_ledger.projections.read.projector import Projector

    with ledger.app.reading() as c:
        c.execute("SELECT count(*) FROM entries")
        count = c.fetchone()[0]

    def peer() -> None:
        with ledger.app.reading() as c:
            c.execute("SELECT state FROM entries ORDER BY position")
            for (state,) in c.fetchall():
                body = orjson.loads(state)
                validate(body["type"], body["data"])

    assert ledger.projector.path is not None
    fresh = Projector(ledger.app, ledger.projector.path.with_name("rebuilt"))
    theirs = count / timed(peer)
    ours = count / timed(fresh.catch_up)
    fresh.close()
    report.add("rebuild of every person's state", ours, "events/s", "raw rows + orjson + pydantic", ours / theirs)
    report.add("  raw rows + orjson + pydantic", theirs, "events/s")
    at = {"controller": "parature", "at": "2030-01-01T00:00:00Z"}
    seconds = timed(lambda: ledger.findings(at))
    report.add("judging everything that was done", count / seconds, "events/s")


def _size(report: Report, ledger: Ledger, events: int, folder: Path) -> None:
    ledger.app.close()
    store, raw = folder / "batch-1000.db", folder / "raw-1000.db"
    report.add(
        "store on disk",
        store.stat().st_size / events,
        "bytes/event",
        "raw table",
        store.stat().st_size / raw.stat().st_size,
    )
    projections = folder / "batch-1000.db.projections"
    report.add("projections on disk", projections.stat().st_size / events, "bytes/event")
