"""What goes wrong outside: bad lines, other files, full and read-only disks, second writers, lost keys, Ctrl-C.

Each names the field or the path and the reason, and leaves every accepted entry in place and no half of one.
"""

from __future__ import annotations

import base64
import shutil
import sqlite3
import sys
import threading
from hashlib import sha256
from io import BytesIO

import pytest
from conftest import PACKS, accept, assert_whole, command, event, letter, ndjson, rows, size, stored, with_pragma

from consent_ledger.consumers import ingest as ingest_module
from consent_ledger.consumers import opening
from consent_ledger.consumers.demo.generator import generate
from consent_ledger.consumers.ingest import ingest
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import (
    KeyFileError,
    NewerStore,
    NotALedger,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from consent_ledger.ledger.intake.dead_letters import KEPT_BYTES, listed, text
from consent_ledger.ledger.intake.upgrade import upgrade
from consent_ledger.ledger.store.sqlite_pool import LedgerPool
from consent_ledger.ledger.store.sqlite_schema import STORE_FORMAT

FEW = [event(id=f"few-{n}", subject=f"crm:{n}", personal={"email": f"p{n}@example.com"}) for n in range(3)]
MANY = [event(id=f"many-{n}", subject=f"crm:{n % 7}", personal={"words": "x" * 200}) for n in range(60)]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(ingest_module, "BATCH", 10)


# -- lines -------------------------------------------------------------------------------------------------------------

VERSION_2 = {"version": "2", "text_sha256": "00", "pack_sha256": "00"}
WIDE = {"categories": ["email"] * 10_000}
BAD_LINES = {
    "not-json": (b"upstream timed out, retrying", "event", "not JSON"),
    "lone-surrogate": (rb'{"specversion": "1.0", "id": "\ud800"}', "event", "not JSON"),
    "not-an-object": (b"[1, 2]", "event", "JSON object"),
    "wrong-type-in-data": (event(data={"service": 5}), "service", "wants text"),
    "wrong-type-of-data": ({**event(), "data": ["site"]}, "data", "JSON object"),
    "wrong-type-of-time": (event(time=20260102), "time", "RFC 3339"),
    "wrong-type-of-actor": (event(actor=["subject"]), "actor", "guardian"),
    "wrong-type-of-personal": (event(personal={"email": 5}), "email", "text"),
    "unknown-field-in-data": (event(data={"colour": "blue"}), "event", "none of this event's"),
    "unknown-attribute": (event(priority="high"), "event", "unknown field"),
    "unknown-type": (event("service.used", type="consent.given"), "type", "unknown event type"),
    "own-type": (event("service.used", type="subject.erased"), "type", "ledger itself"),
    "no-time": (event(time=None), "time", "missing"),
    "time-without-offset": (event(time="2026-01-02T03:04:05"), "time", "offset"),
    "time-of-no-day": (event(time="2026-02-30T03:04:05Z"), "time", "no such time"),
    "time-before-the-year-1": (event(time="0001-01-01T00:00:00+10:00"), "time", "years 1 to 9999"),
    "unknown-controller": (event(controller="somebody-else"), "controller", "pack add"),
    "unknown-recipient": (event("disclosure.made", {"recipient": "unheard-of"}), "recipient", "not registered"),
    "unknown-pack": (event("policy.published", VERSION_2), "pack_sha256", "pack add"),
    "entry-over-65535-bytes": (event("information.collected", WIDE, subject="crm:1"), "data", "65535"),
    "nul-in-data": (event(data={"service": "a\0b"}), "service", "control characters"),
    "nul-in-subject": (event(subject="crm:\0"), "subject", "printable"),
    "nul-in-personal": (event(personal={"email": "a\0@example.com"}), "email", "NUL"),
    "ten-megabytes": (b'{"id": "' + b"x" * 10_485_760 + b'"}', "event", "1048576"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_one_dead_letter_and_nothing_else(store, name):
    bad, field, reason = BAD_LINES[name]
    given = stored(store.ledger)
    raw = ndjson(bad).rstrip(b"\n")

    tally = store.ingest(FEW[0], FEW[1], bad, FEW[2])

    assert (tally.accepted, tally.invalid) == (3, 1), tally
    assert size(store.ledger) == len(given) + 3
    kept = letter(store.ledger)
    assert (kept.field, kept.line, kept.origin, kept.bytes) == (field, 3, "test", len(raw))
    assert reason in kept.reason
    assert text(store.ledger.app, kept.id) == raw[:KEPT_BYTES]
    assert f"line 3: invalid ({field})" in tally.problems[0]
    assert raw[:60] not in store.files()
    # and again: nothing is added twice, the letter neither
    again = store.ingest(FEW[0], FEW[1], bad, FEW[2])
    assert (again.duplicate, again.invalid, size(store.ledger)) == (3, 1, len(given) + 3)
    assert letter(store.reopen()) == kept
    assert_whole(store.ledger, given)


def test_an_entry_too_long_leaves_nothing_of_a_person_who_was_new(store):
    store.ingest(event("information.collected", WIDE, subject="nobody:yet"))
    assert_whole(store.ledger)


@pytest.mark.parametrize("over", [0, 1], ids=["at-the-limit", "size-plus-1"])
def test_an_entry_may_have_65535_bytes_and_no_more(store, over):
    granted = event("consent.granted", {"recipients": []}, id="long", subject="crm:1")
    accept(store.ledger, {**granted, "id": "blank"})  # the second entry of a stream, as the next one
    accept(store.ledger, {**granted, "id": "base"})
    names = 65_535 + over - len(stored(store.ledger)[-1])
    granted["data"]["recipients"] = ["r" * 100] * (names // 103)
    granted["data"]["recipients"][-1] += "r" * (names - 103 * (names // 103) + 1)  # one comma fewer than names

    tally = store.ingest(granted)

    assert (tally.accepted, tally.invalid) == ((0, 1) if over else (1, 0)), tally.problems
    if over:
        assert "65536 bytes" in letter(store.ledger).reason
    else:
        assert len(stored(store.ledger)[-1]) == 65_535
    assert_whole(store.ledger)


def test_a_stream_cut_anywhere_is_completed_by_running_it_whole(memory):
    given = size(memory)
    whole = ndjson(*FEW)
    for cut in range(len(ndjson(*FEW[:2])) + 1, len(whole)):
        letters = len(listed(memory.app))

        tally = ingest(memory, BytesIO(whole[:cut]), f"cut-{cut}")

        assert tally.accepted + tally.duplicate == (2 if cut < len(whole) - 1 else 3), cut
        if cut < len(whole) - 1:
            newest = listed(memory.app)[letters]
            assert (newest.field, newest.line) == ("event", 3)
            assert "the stream ends in the middle of this line" in newest.reason
            assert size(memory) == given + 2
    assert ingest(memory, BytesIO(whole), "whole").duplicate == 3
    assert size(memory) == given + 3
    assert_whole(memory)


def test_a_generated_stream_leaves_a_letter_for_each_bad_line(store):
    stream = generate(seed=3, people=100, events=1000, packs=PACKS)
    store.ledger.clock.set("2026-06-30T12:00:00Z")

    tally = ingest(store.ledger, BytesIO(b"".join(stream.lines())), "made-up")
    again = ingest(store.ledger, BytesIO(b"".join(stream.lines())), "made-up")

    assert tally.invalid == again.invalid == len(listed(store.ledger.app)) == stream.bad
    assert again.accepted == 0
    assert again.duplicate == tally.accepted + tally.duplicate
    assert_whole(store.ledger)


# -- stores ------------------------------------------------------------------------------------------------------------


def other_database(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE entries (position INTEGER PRIMARY KEY, state BLOB)")
    db.close()


NOT_LEDGERS = {
    "text": lambda path: path.write_text("position,stream\n0,1\n"),
    "empty": lambda path: path.touch(),
    "directory": lambda path: path.mkdir(),
    "other-database": other_database,
    "cut-header": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(30)),
}


@pytest.mark.parametrize("name", NOT_LEDGERS)
def test_what_is_no_ledger_is_named_and_left_alone(store, tmp_path, name):
    path = tmp_path / "something"
    NOT_LEDGERS[name](path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(StoreError) as caught:
        opening.open_ledger(f"sqlite:///{path}", str(store.keys))

    assert str(caught.value).startswith(f"{path}: ")
    assert "Is a directory" in str(caught.value) if name == "directory" else caught.type is NotALedger
    assert not caught.value.retryable
    if name != "other-database":
        assert (path.read_bytes() if path.is_file() else None) == before


def test_another_programs_database_is_not_touched(store, tmp_path):
    path = tmp_path / "other.db"
    other_database(path)
    before = path.read_bytes()
    with pytest.raises(NotALedger):
        opening.open_ledger(f"sqlite:///{path}", str(store.keys))
    assert path.read_bytes() == before


def set_version(path, version):
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={version}")
    db.close()


TABLES = (
    "SELECT 'streams', stream, version, leaf FROM streams UNION SELECT 'mentions', person, position, '' FROM mentions "
)
TABLES += "UNION SELECT 'aliases', alias, person, bound FROM aliases "
TABLES += "UNION SELECT 'words', alias, '', word FROM aliases WHERE sealed IS NOT NULL "
TABLES += "UNION SELECT 'letter_words', word, letter, '' FROM letter_words "
TABLES += "UNION SELECT 'living', tag, person, bound FROM living UNION SELECT 'shared', tag, '', '' FROM shared "
TABLES += "UNION SELECT 'noes', person, position, '' FROM noes UNION SELECT 'beside', person, position, '' FROM beside "
TABLES += "UNION SELECT 'deleted', person, until, '' FROM deleted ORDER BY 1, 2, 3"
OF_THREE = ("streams", "mentions", "refused_names", "letter_words", "letter_persons", "past_letters", "deleted")
OF_FOUR = ("documents", "living", "shared", "noes", "beside")
SHARED = {"email": "ann@example.com"}


def put_back(path, version):
    """A store as an older format had it. Returns the alias and person of a name that nobody can read any more."""
    db = sqlite3.connect(path)
    nameless = db.execute("SELECT alias, person FROM aliases WHERE sealed IS NULL").fetchone()
    older = {1: (*OF_FOUR, *OF_THREE, "addresses", "suppressed"), 2: (*OF_FOUR, *OF_THREE), 3: OF_FOUR}
    for table in older[version]:
        db.execute(f"DROP TABLE {table}")
    if version < 3:
        db.execute("ALTER TABLE aliases DROP COLUMN bound")
        db.execute("ALTER TABLE controllers DROP COLUMN bound")
        db.execute("ALTER TABLE aliases DROP COLUMN word")
        db.execute("ALTER TABLE dead_letters ADD COLUMN person_key BLOB")
        db.execute("UPDATE dead_letters SET person_key=?", nameless[:1])
    db.commit()
    db.close()
    set_version(path, version)
    return nameless


@pytest.mark.parametrize("other", [False, True], ids=["alone", "as another process does, too"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_store_of_an_older_format_is_raised_when_it_is_opened(store, version, other):
    accept(store.ledger, *FEW, event("subject.linked", personal={"other": "crm:other"}))
    accept(store.ledger, event("deletion.completed", {"request": None}, subject="crm:deleted"))
    accept(
        store.ledger,
        event(personal=SHARED),
        event("optout.recorded", {"signal": "link"}, subject="ann@example.com"),
        event("message.bounced", {"channel": "email", "permanent": True}, subject="ann@example.com"),
    )
    assert store.ingest(b'{"subject": "crm:other"}').invalid == 1
    given, derived = stored(store.ledger), rows(store.ledger, TABLES)
    store.shut()
    nameless = put_back(store.path, version)
    assert_whole(store.reopen(), given)
    assert rows(store.ledger, TABLES) == derived
    if version < 3:
        assert rows(store.ledger, "SELECT person FROM letter_persons") == [nameless[1]]
    assert rows(store.ledger, "SELECT * FROM documents") == []
    if other:
        with store.ledger.app.writing() as c:
            upgrade(c, store.ledger.app.vault)
    store.assert_again(*FEW)
    assert rows(store.ledger, "PRAGMA user_version") == [STORE_FORMAT]
    assert rows(store.ledger, "SELECT count(*) FROM suppressed") == [0]


def test_a_store_of_a_newer_version_is_not_opened(store):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    store.shut()
    set_version(store.path, STORE_FORMAT + 1)
    with pytest.raises(NewerStore, match=f"store format {STORE_FORMAT + 1}, this program knows {STORE_FORMAT}"):
        store.open()

    set_version(store.path, STORE_FORMAT)
    assert_whole(store.reopen(), given)
    store.assert_again(*FEW)


# -- disks -------------------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_the_batches_before_and_nothing_of_the_one(store, monkeypatch, small_batches):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    pages = rows(store.ledger, "PRAGMA page_count")[0]
    with monkeypatch.context() as patch:
        with_pragma(patch, f"max_page_count={pages + 5}")
        store.reopen()
        with pytest.raises(StoreFull, match=f"{store.path}: no space left on the disk") as caught:
            store.ingest(*MANY)
        assert not caught.value.retryable
        kept = size(store.ledger) - len(given)
        assert 0 < kept < len(MANY)
        assert kept % 10 == 0  # whole batches
        assert_whole(store.ledger, given)  # read by the writer that failed

    store.reopen()  # there is space again
    assert size(store.ledger) == len(given) + kept
    tally = store.ingest(*MANY)
    assert (tally.duplicate, tally.accepted) == (kept, len(MANY) - kept)
    assert_whole(store.ledger, given)


def test_a_full_disk_while_a_letter_is_kept_loses_no_event(store, monkeypatch):
    accept(store.ledger, *FEW)
    pages = rows(store.ledger, "PRAGMA page_count")[0]
    with monkeypatch.context() as patch:
        with_pragma(patch, f"max_page_count={pages + 1}")
        store.reopen()
        with pytest.raises(StoreFull):
            store.ingest(*FEW, b"no event, and long: " + b"x" * 100_000)
        assert listed(store.ledger.app) == []

    store.reopen()
    tally = store.ingest(*FEW, b"no event, and long: " + b"x" * 100_000)
    assert (tally.duplicate, tally.invalid) == (3, 1)
    assert letter(store.ledger).field == "event"
    assert_whole(store.ledger)


def test_a_write_that_the_system_fails_is_one_line_and_loses_nothing(store, tmp_path):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    store.shut()
    many = [event(subject=f"crm:{n}", personal={"words": "x" * 500}) for n in range(400)]
    (tmp_path / "many.ndjson").write_bytes(ndjson(*many))

    limit = store.path.stat().st_size + 8_000  # no file may grow beyond it: write fails with EFBIG
    first = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({limit}, {limit}))"
    done = command("ingest", tmp_path / "many.ndjson", "--store", store.name, first=first)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"consent-ledger: {store.path}: the disk failed or is full; nothing of this batch")
    assert len(done.stderr.splitlines()) == 1
    store.reopen()
    assert stored(store.ledger) == given
    assert store.ingest(*many).accepted == len(many)
    assert_whole(store.ledger, given)


@pytest.mark.parametrize("how", ["query_only", "mode=ro"])
def test_what_cannot_be_written_can_still_be_read(store, monkeypatch, how):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    held = sqlite3.connect(store.path)  # keeps the files beside the store, which a mere reader cannot make
    held.execute("SELECT count(*) FROM head").fetchone()
    create = LedgerPool._create_connection

    def read_only(self):
        self.db_name = f"file:{store.path}?mode=ro"
        return create(self)

    with monkeypatch.context() as patch:
        with_pragma(patch, "query_only=ON") if how == "query_only" else None
        patch.setattr(LedgerPool, "_create_connection", read_only) if how == "mode=ro" else None
        store.reopen()
        with pytest.raises(StoreReadOnly, match=f"{store.path}: cannot be opened for writing") as caught:
            store.ingest(*MANY)
        assert not caught.value.retryable
        assert_whole(store.ledger, given)
    held.close()
    store.reopen()
    assert_whole(store.ledger, given)
    store.assert_again(*FEW)


@pytest.mark.skipif(sys.platform != "linux", reason="wants a folder in which not even root can write")
def test_a_folder_that_cannot_be_written():
    with pytest.raises(StoreError, match=r"^/proc/ledger\.db\.making: .*\(check the path\)"):
        opening.create_ledger("sqlite:////proc/ledger.db")


# -- other writers -----------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_to_retry_and_can(store, monkeypatch):
    with_pragma(monkeypatch, "busy_timeout=20")
    store.reopen()
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreBusy, match=f"{store.path}: another process is writing") as caught:
        store.ingest(*MANY)
    assert caught.value.retryable
    assert stored(store.ledger) == given  # reading goes on

    other.execute("ROLLBACK")
    other.close()
    assert store.ingest(*MANY).accepted == len(MANY)
    assert_whole(store.ledger, given)


def test_a_second_writer_in_the_way_of_a_letter_loses_no_event(store, monkeypatch):
    with_pragma(monkeypatch, "busy_timeout=20")
    store.reopen()
    other = sqlite3.connect(store.path, isolation_level=None)
    monkeypatch.setattr(crashpoints, "hook", lambda name: name == "after commit" and other.execute("BEGIN IMMEDIATE"))

    with pytest.raises(StoreBusy):
        store.ingest(*FEW, b"no event")

    monkeypatch.undo()
    other.execute("ROLLBACK")
    other.close()
    tally = store.ingest(*FEW, b"no event")
    assert (tally.duplicate, tally.invalid, letter(store.ledger).line) == (3, 1, 4)
    assert_whole(store.ledger)


def test_two_writers_keep_one_log_in_turns_and_at_once(store):
    one, two = store.ledger, store.open()
    bodies = [event(subject=f"crm:{n % 3}", personal={"email": f"p{n}@example.com"}) for n in range(40)]
    start = size(one)

    places = [accept((one, two)[n % 2], *bodies[4 * n : 4 * n + 4]) for n in range(10)]
    assert [place for four in places for place in four] == list(range(start, start + 40))

    more = [event(subject=f"crm:{n % 5}") for n in range(40)]
    at_once = [threading.Thread(target=(one, two)[n % 2].record, args=[[body]]) for n, body in enumerate(more)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join(timeout=30)

    assert_whole(one)
    assert_whole(two)
    assert size(one) == start + 80
    for ledger in (one, two):
        assert all(outcome.duplicate for outcome in ledger.record(bodies + more))


# -- keys --------------------------------------------------------------------------------------------------------------


def another(name):
    return lambda keys: (keys / name).write_text(base64.b64encode(bytes(32)).decode())


LOST_KEYS = {
    "no-folder": (shutil.rmtree, r"{keys}: there is no keys folder \(give the store's own with --keys\)"),
    "no-kek": (lambda keys: (keys / "kek").unlink(), r"{keys}/kek is missing: .*--keys"),
    "no-signing-key": (lambda keys: (keys / "signing").unlink(), r"{keys}/signing is missing: .*--keys"),
    "short-kek": (lambda keys: (keys / "kek").write_text("AAAA"), r"{keys}/kek holds 3 bytes, a key has 32"),
    "malformed-kek": (lambda keys: (keys / "kek").write_text("never!"), r"{keys}/kek cannot be read as a key"),
    "anothers-kek": (another("kek"), r"the key-encryption key does not open this store: .*--keys"),
    "anothers-signing-key": (another("signing"), r"{store}: the signing key is another store's .*--keys"),
}


@pytest.mark.parametrize("name", LOST_KEYS)
def test_without_its_keys_a_store_is_not_opened_and_not_changed(store, tmp_path, name):
    damage, says = LOST_KEYS[name]
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    store.shut()
    before = sha256(store.path.read_bytes()).hexdigest()
    shutil.copytree(store.keys, tmp_path / "safe")
    damage(store.keys)

    with pytest.raises(KeyFileError, match=says.format(keys=store.keys, store=store.path)):
        store.open()
    assert sha256(store.path.read_bytes()).hexdigest() == before

    shutil.rmtree(store.keys, ignore_errors=True)
    shutil.move(tmp_path / "safe", store.keys)
    assert_whole(store.reopen(), given)
    store.assert_again(*FEW)


# -- interruptions -----------------------------------------------------------------------------------------------------

IN_THE_BATCH = ("begun", "vault written", "entries written", "checkpoint written", "before commit")


@pytest.mark.parametrize("point", [*IN_THE_BATCH, "after commit"])
def test_ctrl_c_takes_back_the_batch_it_hits_and_no_other(store, fail_at, small_batches, point):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    fail_at(point, KeyboardInterrupt(), turn=3)

    with pytest.raises(KeyboardInterrupt):
        store.ingest(*MANY)

    kept = 30 if point == "after commit" else 20
    assert size(store.ledger) == len(given) + kept
    assert_whole(store.ledger, given)
    tally = store.ingest(*MANY)  # in the same process
    assert (tally.duplicate, tally.accepted) == (kept, len(MANY) - kept)
    assert_whole(store.reopen(), given)


def test_ctrl_c_on_the_command_line_is_one_line(store, tmp_path):
    accept(store.ledger, *FEW)
    given = stored(store.ledger)
    store.shut()
    (tmp_path / "many.ndjson").write_bytes(ndjson(*MANY))
    first = (
        "import os, signal\nfrom consent_ledger.consumers import ingest\n"
        "from consent_ledger.ledger import crashpoints as points\n"
        "ingest.BATCH, seen = 10, []\n"
        "def hook(name):\n seen.append(name)\n"
        " if seen.count('entries written') == 3: os.kill(os.getpid(), signal.SIGINT)\n"
        "points.hook = hook"
    )

    done = command("ingest", tmp_path / "many.ndjson", "--store", store.name, first=first)

    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "consent-ledger: interrupted; what was committed stays, run the same command again\n"
    store.reopen()
    assert size(store.ledger) == len(given) + 20
    assert_whole(store.ledger, given)
    assert store.ingest(*MANY).duplicate == 20


# -- reasons -----------------------------------------------------------------------------------------------------------

CARD, WHO_IT_IS, PLAIN = "4111111111111111", "Ann Smith, 12 Elm Street", "annsmith"
SAYING = [CARD, "078-05-1120", "ann.smith@example.com", WHO_IT_IS, PLAIN]


def everywhere(value):
    """Events that are none, with a value wherever a word, a name or a member could stand."""
    sent = {"purpose": "newsletter", "channel": "email"}
    given = {"purpose": "support", "categories": ["email"], "recipient": "support-desk"}
    published = {"version": "2", "text_sha256": "00", "pack_sha256": "00"}
    recipient = {"recipient": "r", "class": "service-provider", "service": "support"}
    yield from (event(**{name: value}) for name in ("type", "controller", "time", "role", "actor", "of", "dataschema"))
    yield from (event(**{name: value}) for name in ("specversion", "datacontenttype"))
    yield {**event(), "data": value}
    yield {**event(), value: 1}
    yield event(data={value: 1})
    yield event(personal={value: 1})
    yield event(personal={"email": "a@example.com", value: "\0"})
    yield event("subject.linked", personal={"other": "web:x", value: "x"})
    yield event("deletion.requested", {"request": "r"}, {value: "x"})
    for type_name, data, names in (
        ("message.sent", sent, sent), ("disclosure.made", given, given), ("consent.granted", {}, ("purpose", "basis")),
        ("optout.recorded", {}, ("scope", "signal")), ("recipient.registered", recipient, ("class", "service")),
        ("policy.published", published, ("pack_sha256",)), ("subject.age.learned", {}, ("age",)),
    ):  # fmt: skip
        for name in names:
            wrong = [value] if name == "categories" else value
            yield event(type_name, {**data, name: wrong})
    yield event("policy.published", {**published, "change": {"new_uses": [value]}})
    yield event("policy.published", {**published, "change": {value: True}})


@pytest.mark.parametrize("value", SAYING)
def test_no_reason_repeats_what_came(store, value):
    told = list(everywhere(value))
    said = [one.reason for one in store.ledger.record(told) if one.kind == "invalid"]
    tally = store.ingest(*told)
    assert tally.invalid == len(said) >= len(told) - 5  # some are words or names of a right form
    assert [one for one in (*said, *tally.problems) if value in one] == []
    assert [row for row in rows(store.ledger, "SELECT field, reason FROM dead_letters") if value in str(row)] == []


WORDS = {  # what is wrong with the data of an event: (type, data, field, what is said)
    "no-text": ("consent.refused", {"purpose": "newsletter", "list": 5}, "list", "wants text"),
    "no-word": ("consent.granted", {"purpose": "newsletter", "basis": "mail"}, "basis", "wants 'express' or 'use'"),
    "too-long": ("consent.refused", {"purpose": "x" * 70}, "purpose", "wants at most 64 characters"),
    "no-list": ("information.collected", {"categories": 5, "origin": "subject"}, "categories", "wants a list"),
    "nested": (
        "consent.granted",
        {"purpose": "newsletter", "basis": "express", "answers": {"id": None}},
        "id",
        "in answers: wants text",
    ),
    "nested-missing": (
        "consent.granted",
        {"purpose": "newsletter", "basis": "express", "shown": {}},
        "text_sha256",
        "in shown: is missing",
    ),
}


@pytest.mark.parametrize("kind", WORDS)
def test_what_is_wrong_with_a_field_is_said_in_our_words_and_where_it_stands(memory, kind):
    type_name, data, field, said = WORDS[kind]
    (outcome,) = memory.record([event(type_name, data)])
    assert (outcome.kind, outcome.field, outcome.reason) == ("invalid", field, said)
