"""What tests share: events that are valid by default, stores with both shipped packs, and a check for halves.

Import the builders (`from conftest import event`), ask for the fixtures (`store`, `memory`, `clock`).
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import orjson
import postgres_server
import pytest
from hypothesis import settings
from typer.testing import CliRunner

from consent_ledger.consumers import opening
from consent_ledger.consumers.cli.app import app
from consent_ledger.consumers.ingest import ingest
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.files import held
from consent_ledger.ledger.intake.dead_letters import listed
from consent_ledger.ledger.log.entry import decode
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.proof.audit import verify_store
from consent_ledger.ledger.store.sqlite_pool import LedgerPool
from consent_ledger.ledger.times import SECOND, format_time, parse_time

settings.register_profile("patient", deadline=None)  # how fast a machine is, is no property
settings.load_profile("patient")
PACKS = opening.shipped_packs()
NOW = "2026-03-01T12:00:00Z"
PERSON = "crm:4711"

_numbers = itertools.count(1)
_DATA = {
    "service.used": {"service": "site"},
    "subject.registered": {"kind": "customer"},
    "subject.age.learned": {"age": 30},
    "subject.linked": {},
    "subject.unlinked": {},
    "information.collected": {"categories": ["email"], "origin": "subject", "optout_offered": True},
    "consent.granted": {"purpose": "newsletter", "list": "product-news", "basis": "express"},
    "consent.refused": {"purpose": "newsletter", "list": "product-news"},
    "consent.withdrawn": {"purpose": "newsletter", "list": "product-news"},
    "optout.recorded": {"scope": "all"},
    "message.sent": {"purpose": "newsletter", "list": "product-news", "channel": "email"},
    "account.deactivated": {},
    "disclosure.made": {"recipient": "support-desk", "categories": ["email"], "purpose": "support"},
    "recipient.registered": {"recipient": "support-desk", "class": "service-provider", "service": "support"},
    "deletion.requested": {"request": "deletion-1"},
    "deletion.completed": {"request": "deletion-1"},
    "hold.placed": {"hold": "hold-1", "ground": "law"},
    "hold.released": {"hold": "hold-1"},
    "access.requested": {"request": "access-1"},
}
_OF_CONTROLLER = {"policy.published", "policy.notice.posted", "recipient.registered"}
_OTHER_NAME = {"subject.linked", "subject.unlinked"}


# -- builders ----------------------------------------------------------------------------------------------------------


def event(type_name="service.used", data=None, personal=None, **attributes):
    """A valid event with an id of its own. `data` and attributes go over the defaults; None takes one away."""
    body = {
        "specversion": "1.0",
        "id": f"e-{next(_numbers)}",
        "source": "urn:app:test",
        "type": type_name,
        "subject": None if type_name in _OF_CONTROLLER else PERSON,
        "time": "2026-01-02T03:04:05Z",
        "controller": "parature",
        "data": _without_none({**_DATA[type_name], **(data or {})}) if type_name in _DATA else data,
        **attributes,
    }
    if personal is None and type_name in _OTHER_NAME:
        personal = {"other": "web:ann"}
    if personal:
        body["data"] = {**body["data"], "personal": personal}
    return _without_none(body)


def _without_none(fields):
    return {name: value for name, value in fields.items() if value is not None}


def published(controller="parature", version="1"):
    """The publication of a controller's statement, under its shipped pack."""
    digest = hashlib.sha256(PACKS[controller]).hexdigest()
    data = {"version": version, "text_sha256": "00", "pack_sha256": digest}
    fixed = {"id": f"policy-{controller}-{version}", "time": "2026-01-01T00:00:00Z"}
    return event("policy.published", data, controller=controller, **fixed)


def ndjson(*events):
    """Lines of NDJSON; bytes are lines already."""
    return b"".join((one if isinstance(one, bytes) else orjson.dumps(one)) + b"\n" for one in events)


class Clock:
    """A clock that tests set: microseconds since 1970."""

    def __init__(self, text=NOW):
        self.now = parse_time(text)

    def __call__(self):
        return self.now

    def set(self, text):
        self.now = parse_time(text)

    def forward(self, seconds):
        self.now += round(seconds * SECOND)

    @property
    def text(self):
        return format_time(self.now)


# -- checks ------------------------------------------------------------------------------------------------------------


def accept(ledger, *events):
    """Record events that must all be new and accepted. Returns their positions."""
    outcomes = ledger.record(events)
    assert [one.kind for one in outcomes] == ["accepted"] * len(events), outcomes
    assert not any(one.duplicate for one in outcomes), outcomes
    return [one.position for one in outcomes]


def outcome_of(ledger, body):
    """Record one event. Returns what became of it."""
    (outcome,) = ledger.record([body])
    return outcome


def stored(ledger):
    """The exact bytes of every entry, in order of position."""
    return rows(ledger, "SELECT state FROM entries ORDER BY position")


def rows(ledger, statement, *params):
    """What a statement finds in the store; a column alone comes plain."""
    with ledger.app.reading() as c:
        c.execute(statement, params)
        return [row[0] if len(row) == 1 else tuple(row) for row in c.fetchall()]


def decoded(ledger):
    """Every entry, decoded."""
    return [decode(position, raw) for position, raw in enumerate(stored(ledger))]


def size(ledger):
    """How many entries the head covers."""
    return ledger.app.current_head().size


def letter(ledger):
    """The one dead letter there must be."""
    (only,) = listed(ledger.app)
    return only


_HALVES = {
    "sealed record without entry": "SELECT position FROM secrets WHERE position NOT IN (SELECT position FROM entries)",
    "key without entry": "SELECT position FROM keys WHERE position NOT IN (SELECT position FROM entries)",
    "refusal without entry": "SELECT position FROM refused WHERE position NOT IN (SELECT position FROM entries)",
    "name of nobody": "SELECT person FROM aliases a WHERE NOT EXISTS "
    "(SELECT 1 FROM entries e WHERE e.stream=a.person OR instr(e.state, CAST(a.person AS BLOB)))",
    "data key of nobody": "SELECT person FROM people p WHERE NOT EXISTS "
    "(SELECT 1 FROM entries e WHERE e.stream=p.person OR instr(e.state, CAST(p.person AS BLOB)))",
    "entry without key": "SELECT position FROM entries WHERE position NOT IN (SELECT position FROM keys) "
    "AND type NOT IN ('intake.refused', 'subject.erased', 'suppression.carried')",
}


def assert_whole(ledger, before=()):
    """The store verifies, holds no half of an event, and begins with the entries `before`."""
    now = stored(ledger)
    assert now[: len(before)] == list(before)
    report = verify_store(ledger.app, parse_vkey(ledger.app.signer.vkey))
    assert report.size == size(ledger) == len(now)
    assert {what: found for what, statement in _HALVES.items() if (found := rows(ledger, statement))} == {}


# -- fixtures ----------------------------------------------------------------------------------------------------------


class Store:
    """A ledger in a file with both packs and policies, and what it takes to open it again or break it."""

    def __init__(self, path):
        self.path = Path(path)
        self.name = f"sqlite:///{path}"
        self.keys = Path(f"{path}.keys")
        self._opened = [opening.create_ledger(self.name)]
        self.ledger = self._opened[0]
        for pack in PACKS.values():
            self.ledger.app.add_pack(pack)
        accept(self.ledger, *(published(controller) for controller in sorted(PACKS)))

    def open(self):
        """Open it once more, as another process would."""
        self._opened.append(opening.open_ledger(self.name))
        return self._opened[-1]

    def reopen(self):
        """Close everything and open it anew."""
        self.close()
        self.ledger = self.open()
        return self.ledger

    def ingest(self, *events, origin="test"):
        """Ingest events or lines. Returns the tally."""
        return ingest(self.ledger, BytesIO(ndjson(*events)), origin)

    def assert_again(self, *events):
        """Ingest what must all be there: nothing may come of it."""
        before = stored(self.ledger)
        tally = self.ingest(*events)
        assert (tally.duplicate, tally.accepted, tally.invalid) == (len(events), 0, 0), tally
        assert stored(self.ledger) == before

    def files(self):
        """The bytes of the store's file and its write-ahead log."""
        beside = self.path.with_name(self.path.name + "-wal")
        return held.read(self.path) + (beside.read_bytes() if beside.exists() else b"")

    def close(self):
        while self._opened:
            self._opened.pop().close()

    def shut(self):
        """Close everything, and have the write-ahead log put into the file: the last connection to go does that."""
        self.close()
        del self.ledger
        gc.collect()


def with_pragma(monkeypatch, pragma):
    """Every connection to a store that is opened from now on has this pragma."""
    create = LedgerPool._create_connection

    def with_it(self):
        connection = create(self)
        connection._sqlite_conn.execute(f"PRAGMA {pragma}")
        return connection

    monkeypatch.setattr(LedgerPool, "_create_connection", with_it)


class Counted:
    """A lock that tells when it has been held so many times: every caller is in the queue then."""

    def __init__(self, lock, times):
        self.lock, self.left, self.all = lock, times, threading.Event()

    def __enter__(self):
        self.lock.acquire()

    def __exit__(self, *_):
        self.left -= 1
        if self.left == 0:
            self.all.set()
        self.lock.release()


def together(ledger, bodies, monkeypatch):
    """Record each event by a thread of its own, all waiting when the first begins. Returns what each got."""
    came = [None] * len(bodies)

    def call(number):
        try:
            (came[number],) = ledger.record([bodies[number]])
        except BaseException as error:  # noqa: BLE001  it is what the test is about
            came[number] = error

    threads = [threading.Thread(target=call, args=[number]) for number in range(len(bodies))]
    with monkeypatch.context() as patch:
        queue = Counted(ledger.app._queue_lock, len(bodies))
        patch.setattr(ledger.app, "_queue_lock", queue)
        with ledger.app._lock:
            for thread in threads:
                thread.start()
            assert queue.all.wait(timeout=30)
        for thread in threads:
            thread.join(timeout=30)
    return came


def command(*args, first=""):
    """Run the command line in a process of its own, after some Python."""
    python = [
        sys.executable,
        "-c",
        f"{first}\nfrom consent_ledger.consumers.cli.app import main\nmain()",
        *map(str, args),
    ]
    return subprocess.run(python, capture_output=True, text=True, timeout=60, check=False)


class Cli:
    """The command line on one store. Every call asserts the exit code and that nothing escaped."""

    def __init__(self, store):
        self.store = store

    def __call__(self, *args, code=0, stdin=None):
        result = CliRunner().invoke(app, [str(one) for one in args], stdin, env={"CONSENT_LEDGER_STORE": self.store})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, (result.exit_code, result.output)
        return result

    def json(self, *args, code=0):
        result = self(*args, "--json", code=code)
        assert result.stderr == ""
        return orjson.loads(result.stdout)

    @property
    def vkey(self):
        return opening.open_ledger(self.store).app.signer.vkey

    def fails(self, *args, code=2, stdin=None):
        """A user's mistake, or by its code a no or a failure: one line. Returns it without its beginning."""
        result = self(*args, code=code, stdin=stdin)
        assert result.stdout == ""
        assert result.stderr.startswith("consent-ledger: ")
        assert result.stderr.endswith("\n")
        assert result.stderr.count("\n") == 1
        return result.stderr.removeprefix("consent-ledger: ").strip()


@pytest.fixture
def fail_at(monkeypatch):
    """Raise an error when a named point is reached, the first time or a later one."""

    def arm(name, error, *, turn=1):
        left = [turn]

        def reached(point):
            left[0] -= point == name
            if point == name and left[0] == 0:
                raise error

        monkeypatch.setattr(crashpoints, "hook", reached)

    return arm


@pytest.fixture
def commits(monkeypatch):
    """The commits made since."""
    seen = []
    monkeypatch.setattr(crashpoints, "hook", lambda name: seen.append(name) if name == "after commit" else None)
    return seen


@pytest.fixture
def clock(monkeypatch):
    """The clock of every ledger that a test opens."""
    clock = Clock()
    monkeypatch.setattr(opening, "clock", clock)
    return clock


@pytest.fixture
def store(tmp_path, clock):
    """A fresh store in a file."""
    store = Store(tmp_path / "ledger.db")
    store.clock = clock
    yield store
    store.close()


@pytest.fixture
def memory(clock):
    """A fresh ledger in memory, packs and policies included."""
    ledger = opening.memory_ledger(at=clock)
    for pack in PACKS.values():
        ledger.app.add_pack(pack)
    accept(ledger, *(published(controller) for controller in sorted(PACKS)))
    yield ledger
    ledger.projector.close()
    ledger.app.close()


@pytest.fixture
def cli(store):
    return Cli(store.name)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server: see postgres_server.py. Skipped where there is none, unless REQUIRE_SERVICES is set."""
    try:
        found = postgres_server.server()
    except postgres_server.Missing as why:
        if os.environ.get("REQUIRE_SERVICES"):
            raise
        pytest.skip(str(why))
    yield found
    found.stop()
