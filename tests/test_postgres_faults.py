"""A store in PostgreSQL under writers in several processes, killed servers, killed writers and full disks."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import crash_child
import hammer
import postgres_child
import postgres_server
import psycopg
import pytest
from conftest import _HALVES, NOW, PACKS, PERSON, accept, decoded, event, ndjson, published, rows, stored
from psycopg import errors as pg

from consent_ledger.consumers.health import examine
from consent_ledger.consumers.ingest import ingest
from consent_ledger.consumers.opening import create_ledger, open_ledger, open_to_read
from consent_ledger.ledger.errors import InvalidQuestion, NotALedger, StoreAway, StoreBusy, StoreError, StoreFull
from consent_ledger.ledger.intake import opened
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.proof.audit import verify_store
from consent_ledger.ledger.store.postgres import NETWORK, translate
from consent_ledger.ledger.store.postgres_schema import TABLES

ROOT = Path(__file__).parents[1]
BOUND_SECONDS = 90  # for whoever waits for a server that was killed
SOON_SECONDS = 10  # for an error that no waiting mends
QUESTION = {"controller": "parature", "subject": PERSON, "action": "contact", "purpose": "newsletter",
            "list": "product-news", "channel": "email"}  # fmt: skip
WHO = {"controller": "parature", "subject": PERSON}


@pytest.fixture(scope="module")
def server():
    """A server that may be killed. Skipped where there is none, unless REQUIRE_SERVICES is set."""
    try:
        own = postgres_server.Own()
    except postgres_server.Missing as why:
        if os.environ.get("REQUIRE_SERVICES"):
            raise
        pytest.skip(str(why))
    yield own
    own.stop()


@pytest.fixture
def place(server, tmp_path):
    """The address and the folder of keys of a ledger with packs and policies."""
    found = server.schema(), str(tmp_path / "keys")
    with create_ledger(*found) as ledger:
        for pack in PACKS.values():
            ledger.app.add_pack(pack)
        accept(ledger, *(published(controller) for controller in sorted(PACKS)))
    return found


def schema_of(place):
    return re.search(r"schema=(\w+)", place[0])[1]


def held(place):
    """What is in the store as another ledger sees it: how many rows of each kind."""
    with open_ledger(*place) as ledger:
        return {table: rows(ledger, f"SELECT count(*) FROM {table}") for table in TABLES if table != "turn"}


def check_whole(ledger, before=()):
    """Nothing is half: the log verifies, has no gap and begins as before, and doctor finds nothing."""
    now = stored(ledger)
    assert now[: len(before)] == list(before)
    assert rows(ledger, "SELECT position FROM entries ORDER BY position") == list(range(len(now)))
    assert verify_store(ledger.app, parse_vkey(ledger.app.signer.vkey)).size == len(now)
    for what, statement in _HALVES.items():
        ours = re.sub(r"instr\(e.state, CAST\((\S+) AS BLOB\)\)", r"position(\1::bytea in e.state) > 0", statement)
        assert rows(ledger, ours) == [], what
    assert [check for check in examine(ledger) if not check["ok"]] == []


def positions_of(ledger, ids):
    """The position of each of these events, which must all be in the log exactly once."""
    found = Counter(entry.id for entry in decoded(ledger))
    assert {one: found[one] for one in ids if found[one] != 1} == {}
    return {entry.id: position for position, entry in enumerate(decoded(ledger)) if entry.id in ids}


# -- writers in processes of their own ---------------------------------------------------------------------------------


class Writer:
    """A process that records batches of events, and what it said of each."""

    def __init__(self, place, folder, name, batches, each):
        self.batches = [
            [event(subject=f"crm:{name}-{n % 7}", id=f"{name}-{batch}-{n}") for n in range(each)]
            for batch in range(batches)
        ]
        job = folder / f"{name}.json"
        job.write_text(json.dumps({"store": place[0], "keys": str(place[1]), "batches": self.batches}))
        self.process = subprocess.Popen(
            [sys.executable, postgres_child.__file__, str(job)], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=(folder / f"{name}.err").open("w"), text=True,
        )  # fmt: skip
        self.complaints = folder / f"{name}.err"
        self.said = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def hear(self):
        """Its next line; None when it has ended."""
        assert postgres_server.says_something(self.process.stdout, BOUND_SECONDS), "a writer hangs"
        line = self.process.stdout.readline()
        if line:
            self.said.append(json.loads(line))
        return self.said[-1] if line else None

    def finish(self):
        """Hear all that it has to say."""
        while self.hear():
            pass
        assert self.process.wait(BOUND_SECONDS) == 0, self.complaints.read_text()

    def told(self):
        """The position that it was told of each event."""
        found = {}
        for said in self.said:
            for body, (kind, position, _) in zip(self.batches[said["batch"]], said.get("outcomes", ()), strict=False):
                assert kind == "accepted"
                found[body["id"]] = position
        return found

    @property
    def errors(self):
        return {said["error"] for said in self.said if "error" in said}


@pytest.mark.parametrize("keys", ["shared", "copied"])
def test_of_two_writing_processes_each_event_is_recorded_once(place, tmp_path, keys):
    elsewhere = place
    if keys == "copied":  # as on another machine: they meet in the server alone
        elsewhere = place[0], shutil.copytree(place[1], tmp_path / "copied")
    with Writer(place, tmp_path, "one", 25, 3) as one, Writer(elsewhere, tmp_path, "other", 25, 3) as other:
        one.hear(), other.hear()  # both are open
        one.finish(), other.finish()
    told = one.told() | other.told()
    assert one.errors | other.errors <= {"StoreBusy"}
    with open_ledger(*place) as ledger:
        check_whole(ledger)
        assert positions_of(ledger, told.keys()) == told
        assert len(told) == 150 == len(stored(ledger)) - len(PACKS)


# -- a killed server ---------------------------------------------------------------------------------------------------


def test_a_writer_outlives_its_server_and_each_event_counts_once(server, place, tmp_path):
    with Writer(place, tmp_path, "one", 60, 40) as writer:
        for _ in range(2):
            for _ in range(5):
                assert writer.hear()
            server.kill()
            server.start()
        assert len([said for said in writer.said if "outcomes" in said]) < 60, "it was done before"
        writer.finish()
    assert writer.errors <= {"StoreAway"}
    told = writer.told()
    assert len(told) == 2400
    with open_ledger(*place) as ledger:
        check_whole(ledger)
        assert positions_of(ledger, told.keys()) == told


def test_an_open_ledger_goes_on_after_its_server_was_started_again(server, place):
    with open_ledger(*place) as ledger:
        accept(ledger, event("consent.granted"))
        before = ledger.decide(QUESTION).outcome
        watch = ledger.app.store.watch()
        with ExitStack() as stack:  # connections that wait in the pool for use
            for _ in range(5):
                stack.enter_context(ledger.app.store.lent())
        server.kill()
        ledger.app.store._pool.timeout = 0.5
        kept = event()
        for call in (lambda: ledger.record([kept]), lambda: ledger.decide(QUESTION), lambda: watch.wait(1)):
            with pytest.raises(StoreAway, match="look whether it runs; retry"):
                call()
        with pytest.raises(StoreAway):
            open_ledger(*place)
        server.start()
        ledger.app.store._pool.timeout = 30
        assert ledger.decide(QUESTION).outcome == before
        accept(ledger, kept)
        assert watch.wait(5)
        accept(ledger, event("consent.withdrawn", time="2026-02-02T03:04:05Z"))
        assert watch.wait(5)
        assert ledger.decide(QUESTION).outcome != before
        watch.close()
        check_whole(ledger)


def test_connections_that_the_server_closed_meanwhile_are_nobodys_error(server, place):
    with open_ledger(*place) as ledger:
        accept(ledger, event("consent.granted"))
        before = ledger.decide(QUESTION).outcome
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(ledger.app.store.lent())
        server.kill()
        server.start()
        began = time.monotonic()
        assert ledger.decide(QUESTION).outcome == before
        accept(ledger, event())
        assert time.monotonic() - began < SOON_SECONDS


@pytest.mark.parametrize("committed", [False, True])
def test_whoever_loses_the_answer_to_a_commit_records_again_and_it_counts_once(server, place, monkeypatch, committed):
    execute = psycopg.Connection.execute

    def executed(connection, query, *args, **how):
        if query != b"COMMIT":
            return execute(connection, query, *args, **how)
        monkeypatch.undo()
        if committed:
            execute(connection, query, *args, **how)
        server.kill()
        return execute(connection, query, *args, **how)  # finds nobody

    with open_ledger(*place) as ledger:
        accept(ledger, event())
        bodies, size = [event(), event("consent.granted")], len(stored(ledger))
        monkeypatch.setattr(psycopg.Connection, "execute", executed)
        with pytest.raises(StoreAway):
            ledger.record(bodies)
        server.start()
        assert len(stored(ledger)) == size + 2 * committed
        assert [one.duplicate for one in ledger.record(bodies)] == [committed] * 2
        assert sorted(positions_of(ledger, {one["id"] for one in bodies}).values()) == [size, size + 1]
        check_whole(ledger)


# -- a server that lets nobody in --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(server):
    """A role that needs a password, and one that may not log in."""
    rules = server.data / "pg_hba.conf"
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    server.execute("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'right'")
    server.execute("CREATE ROLE shut NOLOGIN")
    server.execute("SELECT pg_reload_conf()")
    return f"127.0.0.1:{server.port}/postgres?schema=none"


@pytest.mark.parametrize(
    ("who", "says"),
    [
        ("guarded:wrong", "password authentication failed"),
        ("guarded", "no password supplied"),
        ("nobody_at_all", "role .* does not exist"),
        ("shut", "not permitted to log in"),
    ],
)
@pytest.mark.parametrize("opened", [open_ledger, open_to_read])
def test_whom_the_server_does_not_let_in_is_told_why_at_once(guarded, place, who, says, opened):
    began = time.monotonic()
    with pytest.raises(NotALedger, match=rf"{says}.* \(check the address, the role and its password\)") as error:
        opened(f"postgresql://{who}@{guarded}", place[1])
    assert time.monotonic() - began < SOON_SECONDS
    assert "wrong" not in str(error.value)


def test_a_database_that_is_not_there_and_a_server_that_is_silent_are_told_soon(server, tmp_path):
    keys = str(tmp_path / "keys")
    began = time.monotonic()
    with pytest.raises(NotALedger, match="does not exist"):
        create_ledger(f"postgresql://ledger@127.0.0.1:{server.port}/no_such", keys)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        address = f"postgresql://ledger@127.0.0.1:{silent.getsockname()[1]}/postgres?connect_timeout=2"
        with pytest.raises(StoreAway, match="cannot be reached"):
            create_ledger(address, keys)
    with pytest.raises(StoreAway, match="cannot be reached"):  # nobody listens there any more
        create_ledger(address, keys)
    assert time.monotonic() - began < 2 * SOON_SECONDS


def test_how_long_a_silent_network_is_waited_for_is_set_unless_the_address_says(server, place):
    with open_ledger(*place) as ledger, ledger.app.store.lent() as connection:
        assert {name: str(value) for name, value in NETWORK.items()}.items() <= connection.info.get_parameters().items()
    with open_ledger(place[0] + "&tcp_user_timeout=5000", place[1]) as ledger, ledger.app.store.lent() as connection:
        assert connection.info.get_parameters()["tcp_user_timeout"] == "5000"


def test_an_open_ledger_says_why_it_gets_no_connection_any_more(server, place):
    server.execute("CREATE ROLE passing LOGIN SUPERUSER")
    with open_ledger(place[0].replace("ledger@", "passing@"), place[1]) as ledger:
        ledger.app.store._pool.timeout = 0.3
        with ExitStack() as stack:
            for _ in range(16):
                stack.enter_context(ledger.app.store.lent())
            with pytest.raises(StoreBusy, match="all connections are in use"):
                ledger.record([event()])
        server.execute("ALTER ROLE passing NOLOGIN")
        server.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename='passing'")
        with pytest.raises(NotALedger, match="not permitted to log in"):
            ledger.record([event()])


# -- a killed writer ---------------------------------------------------------------------------------------------------


OF_A_BATCH = {
    "begun", "vault written", "entries written", "checkpoint written", "before commit", "after commit", "head noted",
    "before scrub", "scrubbed", "after scrub",
}  # fmt: skip
OF_AN_ERASURE = {
    "erasure noted", "entries written", "checkpoint written", "before erasure commit", "after commit", "head noted",
    "after erasure commit", "before scrub", "scrubbed", "after scrub",
}  # fmt: skip


class Victim:
    """A ledger with a person who left all that one can leave, and the process that dies while it works on it."""

    def __init__(self, server, folder):
        self.server = server
        self.place = server.schema(), str(folder / "keys")
        self.file = folder / "events.ndjson"
        self.schema = schema_of(self.place)
        other = {"subject": "crm:2", "personal": {"email": "bob@example.com"}}
        self.coming = [
            event(**other), event("deletion.completed", {"request": None}, time=NOW), event("consent.granted", **other)
        ]  # fmt: skip
        self.file.write_bytes(ndjson(*self.coming))
        with create_ledger(*self.place) as ledger:
            for pack in PACKS.values():
                ledger.app.add_pack(pack)
            accept(
                ledger,
                *(published(controller) for controller in sorted(PACKS)),
                event("subject.linked"),
                event(personal={"email": "ann@example.com"}),
                event("optout.recorded", personal={"email": "ann@example.com"}),
                event(subject="web:ann"),
            )
            self.before, self.person = stored(ledger), ledger.app.person("parature", PERSON)
            self.names = len(rows(ledger, "SELECT alias FROM aliases WHERE person=?", self.person))

    def run(self, mode, *kill):
        """Run the child. Returns how often it met each thing to die of; None if it was killed."""
        job = {"store": self.place[0], "mode": mode, "kill": kill, "file": str(self.file), "who": WHO}
        done = subprocess.run(
            [sys.executable, crash_child.__file__, json.dumps(job)], cwd=ROOT, capture_output=True, text=True,
            check=False, env={**os.environ, "CONSENT_LEDGER_KEYS": self.place[1]}, timeout=BOUND_SECONDS,
        )  # fmt: skip
        if done.returncode == -signal.SIGKILL:
            return None
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def count(self, table, where):
        """How many rows there are as the server says, before any ledger opens it."""
        ((found,),) = self.server.execute(f"SELECT count(*) FROM {self.schema}.{table} WHERE {where}")
        return found

    def sealed(self):
        return self.count("secrets JOIN " + self.schema + ".entries USING (position)", f"stream='{self.person}'")

    def of_type(self, name):
        return self.count("entries", f"type='{name}'")


def killed_anywhere(server, folder, mode, points):
    """(of what, a ledger whose writer died of it): each point, the first and the last time, and a few statements."""
    (folder / "whole").mkdir()
    met = Victim(server, folder / "whole").run(mode)
    assert {f"point {name}" for name in points} <= met.keys()
    kills = [("point", name[6:], n) for name, times in met.items() if name.startswith("point ") for n in {1, times}]
    kills += [("statement", met["statement"] * part // 4) for part in (1, 2, 3)]
    for number, kill in enumerate(kills):
        (folder / str(number)).mkdir()
        victim = Victim(server, folder / str(number))
        assert victim.run(mode, *kill) is None, f"never came to {kill}"
        yield kill, victim


def test_a_writer_that_dies_at_any_point_of_a_batch_with_a_deletion_leaves_all_or_nothing(clock, server, tmp_path):
    clock.set(crash_child.NOW)
    for kill, victim in killed_anywhere(server, tmp_path, "ingest", OF_A_BATCH):
        deleted = victim.of_type("deletion.completed")
        assert (victim.sealed() > 0) == (deleted == 0), kill
        with open_ledger(*victim.place) as ledger:
            assert len(stored(ledger)) == len(victim.before) + 3 * deleted, kill
            check_whole(ledger, victim.before)
            ingest(ledger, BytesIO(victim.file.read_bytes()), "events")
            check_whole(ledger, victim.before)
            positions_of(ledger, {one["id"] for one in victim.coming})
            assert len(stored(ledger)) == len(victim.before) + 3
        assert victim.sealed() == victim.count("meta", "name LIKE 'unscrubbed:%'") == 0, kill


def test_a_writer_that_dies_at_any_point_of_an_erasure_leaves_a_person_whole_or_gone(clock, server, tmp_path):
    noted, whole = set(), 0
    clock.set(crash_child.NOW)
    for kill, victim in killed_anywhere(server, tmp_path, "erase", OF_AN_ERASURE):
        names = victim.count("aliases", f"person='{victim.person}'")
        assert names in (0, victim.names), kill
        assert (victim.sealed() > 0) == (names > 0) == (victim.of_type("subject.erased") == 0), kill
        with open_ledger(*victim.place) as ledger:
            if ledger.app.keys.erasures():  # it is finished when the store is opened
                noted.add(kill[1])
            else:
                whole += 1
                assert ledger.app.person("parature", PERSON) == victim.person
                assert stored(ledger) == victim.before
                ledger.erase(WHO)
            check_whole(ledger, victim.before)
            kinds = Counter(entry.type for entry in decoded(ledger)[len(victim.before) :])
            assert kinds["subject.erased"] == 2  # under both names, once
            assert kinds.total() == kinds["subject.erased"] + kinds["suppression.carried"]
            with pytest.raises(InvalidQuestion):
                ledger.erase(WHO)
        assert victim.sealed() == victim.count("aliases", f"person='{victim.person}'") == 0, kill
        assert victim.count("meta", "name LIKE 'unscrubbed:%'") == 0, kill
    assert noted >= OF_AN_ERASURE
    assert whole


@pytest.mark.parametrize("point", ["before", "store made"])
def test_a_ledger_whose_making_was_cut_short_is_made_or_there(server, tmp_path, monkeypatch, fail_at, point):
    place = server.schema(), str(tmp_path / "keys")
    with monkeypatch.context() as patch:
        if point == "before":
            patch.setattr(opened, "make_head", lambda *_: 1 / 0)
        else:
            fail_at(point, ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            create_ledger(*place)
    with (create_ledger if point == "before" else open_ledger)(*place) as ledger:
        ledger.app.add_pack(PACKS["parature"])
        accept(ledger, event())
        check_whole(ledger)
    assert not (tmp_path / "keys" / "unfinished").exists()


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["aliases", "entries", "head"])
@pytest.mark.parametrize("when", ["BEFORE", "at the commit"])
def test_on_a_full_disk_nothing_is_kept_and_afterwards_it_goes_on(server, place, table, when):
    schema = schema_of(place)
    late = when != "BEFORE"
    server.execute(
        f"CREATE FUNCTION {schema}.full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE='53100'; END$$"
    )
    with open_ledger(*place) as ledger:
        accept(ledger, event("consent.granted"))
        bodies, before = (
            [event(subject="crm:new"), event("consent.withdrawn", time="2026-02-02T03:04:05Z")],
            held(place),
        )
        answer = ledger.decide(QUESTION).outcome
        server.execute(
            f"CREATE {'CONSTRAINT' if late else ''} TRIGGER full_disk {'AFTER' if late else when} INSERT OR UPDATE "
            f"ON {schema}.{table} {'DEFERRABLE INITIALLY DEFERRED' if late else ''} "
            f"FOR EACH ROW EXECUTE FUNCTION {schema}.full_disk()"
        )
        for _ in range(2):
            with pytest.raises(StoreFull, match="nothing of this batch was kept"):
                ledger.record(bodies)
        assert held(place) == before
        assert ledger.decide(QUESTION).outcome == answer
        server.execute(f"DROP TRIGGER full_disk ON {schema}.{table}")
        accept(ledger, *bodies)
        assert ledger.decide(QUESTION).outcome != answer
        check_whole(ledger)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pg.DiskFull, StoreFull),
        (pg.OutOfMemory, StoreFull),
        (pg.QueryCanceled, StoreBusy),
        (pg.IdleInTransactionSessionTimeout, StoreBusy),
        (pg.LockNotAvailable, StoreBusy),
        (pg.AdminShutdown, StoreAway),
        (pg.CrashShutdown, StoreAway),
        (pg.CannotConnectNow, StoreAway),
        (pg.ConnectionFailure, StoreAway),
        (pg.TooManyConnections, StoreAway),
        (psycopg.OperationalError, StoreAway),
        (pg.IoError, StoreError),  # no waiting mends it
        (pg.DataCorrupted, StoreError),
    ],
)
def test_each_error_of_a_server_says_whether_a_retry_helps(error, kind):
    assert type(translate(error("it says"), "here")) is kind


# -- all of it at once -------------------------------------------------------------------------------------------------


def test_nothing_acknowledged_is_lost_or_contradicted(server, monkeypatch):
    monkeypatch.setattr(hammer, "SERVER_KILLS", 0.5)
    seed = os.environ.get("HAMMER_SEED") or str(random.randrange(10**6))
    site = hammer.hammer(seed, 10, processes=2, threads=4, server=server)
    again = f"python tests/hammer.py --store postgresql --seed {seed}"
    assert not site.failures.kinds, f"{again}\n{site.report()}\n{site.failures.text()}"
    assert site.counts["kills"]
    assert site.counts["holds"]
    assert len(site.said.acked) > 50
