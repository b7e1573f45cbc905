"""One ledger for many threads: every answer is of one size of the log, nobody is kept out, and the end waits.

Nothing here hangs on who is fast: threads meet at barriers, or are stopped inside an answer by a hook.
"""

from __future__ import annotations

import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from conftest import PACKS, PERSON, Store, accept, event, published, rows, size

from consent_ledger.consumers import maintenance, opening
from consent_ledger.consumers.demo.generator import generate
from consent_ledger.ledger.errors import Closed, InvalidQuestion, LedgerError
from consent_ledger.ledger.intake import erasure
from consent_ledger.ledger.proof.evidence import write_evidence
from consent_ledger.ledger.store.sqlite import SQLiteStore
from consent_ledger.ledger.times import format_time
from consent_ledger.projections.ledger import Ledger
from consent_ledger.projections.read import session as sessions
from consent_ledger.projections.read.people import People
from consent_ledger.projections.read.session import Sessions

ASK = {
    "controller": "parature",
    "subject": PERSON,
    "action": "contact",
    "purpose": "newsletter",
    "list": "product-news",
    "channel": "email",
}
WHO = {"controller": "parature", "subject": PERSON}
PATIENCE = 30  # seconds until a test that hangs fails
THREADS = 24  # more than there are sessions


@pytest.fixture(params=["file", "memory"])
def ledger(request):
    """A ledger in a file, and one in memory."""
    return request.getfixturevalue("store").ledger if request.param == "file" else request.getfixturevalue("memory")


@contextmanager
def threads(number=1):
    """A pool whose threads are awaited at the end."""
    with ThreadPoolExecutor(number) as pool:
        yield pool


def in_thread(call, *args):
    """What a call in another thread gives, or raises."""
    with threads() as pool:
        return pool.submit(call, *args).result(timeout=PATIENCE)


class Stopped:
    """Threads that load a person stop there until they are let go."""

    def __init__(self, monkeypatch, *, how_many=1):
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()
        self.left = how_many
        load = People.person
        lock = threading.Lock()

        def person(people, identifier):
            with lock:
                stops, self.left = self.left > 0, self.left - 1
            if stops:
                self.inside.release()
                assert self.go.wait(PATIENCE)
            return load(people, identifier)

        monkeypatch.setattr(People, "person", person)

    def reached(self, how_many=1):
        assert all(self.inside.acquire(timeout=PATIENCE) for _ in range(how_many))


# -- any thread --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["decide", "state", "history", "recipients", "obligations", "findings", "refusals", "found"]
)
def test_every_question_is_answered_in_any_thread(ledger, name):
    accept(ledger, event("consent.granted"), event("message.sent", time="2026-01-03T00:00:00Z"))
    body = ASK if name == "decide" else WHO
    here, there = getattr(ledger, name)(body), in_thread(getattr(ledger, name), body)
    if name == "found":
        here, there = here[1].person, there[1].person
    assert here == there
    if name in ("obligations", "findings", "history", "recipients", "refusals"):
        assert in_thread(getattr(ledger, name), {}) == getattr(ledger, name)({})


def test_many_threads_record_and_ask_at_once(ledger):
    start = threading.Barrier(THREADS, timeout=PATIENCE)

    def work(number):
        start.wait()
        said = []
        for turn in range(3):
            who = f"crm:{number % 5}"
            position = accept(ledger, event("optout.recorded", subject=who, time=f"2026-01-0{2 + turn}T00:00:00Z"))[0]
            answer = ledger.decide({**ASK, "subject": who, "at": "2026-02-01T00:00:00Z"})
            assert (answer.outcome, answer.size > position) == ("deny", True)
            assert all(ref.position < answer.size for ref in answer.because)
            assert ledger.state({**WHO, "subject": who})["person"]
            said += ledger.findings({"controller": "parature"})
        return said

    with threads(THREADS) as pool:
        for done in [pool.submit(work, number) for number in range(THREADS)]:
            assert done.result(timeout=PATIENCE) == []
    assert size(ledger) == len(PACKS) + 3 * THREADS


def test_whoever_waits_for_a_session_gets_it_in_the_order_of_asking(ledger, monkeypatch):
    accept(ledger, event())
    monkeypatch.setattr(sessions, "LIMIT", 2)
    stopped = Stopped(monkeypatch, how_many=2)
    took = []
    hand_on, turned, fresh = Sessions._hand_on, threading.Event(), sessions._Turn

    def handed(self, session):
        took.extend(turn.number for turn in list(self._waiting)[:1])
        hand_on(self, session)

    with threads(6) as pool:
        asked = [pool.submit(ledger.decide, ASK) for _ in range(2)]
        stopped.reached(2)
        for number in range(4):
            turn = fresh()
            turn.number = number
            monkeypatch.setattr(sessions, "_Turn", lambda turn=turn: turn)
            turned.clear()
            waits = turn.come.wait
            turn.come.wait = lambda *args, waits=waits: turned.set() or waits(*args)
            asked.append(pool.submit(ledger.decide, ASK))
            assert turned.wait(PATIENCE)
        monkeypatch.setattr(Sessions, "_hand_on", handed)
        stopped.go.set()
        assert {one.result(timeout=PATIENCE).size for one in asked} == {size(ledger)}
    assert took == [0, 1, 2, 3]
    assert ledger._sessions._made == 2


def test_one_thread_always_meets_the_same_session(ledger):
    accept(ledger, event())
    ledger.decide(ASK)
    first = ledger._session
    for _ in range(3):
        in_thread(ledger.decide, ASK)
        ledger.state(WHO)
    assert ledger._session is first
    assert ledger._sessions._made == 1


def test_a_session_that_cannot_be_made_leaves_its_place(store, monkeypatch):
    monkeypatch.setattr(sessions, "LIMIT", 1)
    ledger = store.open()
    with monkeypatch.context() as patch:
        patch.setattr(store.ledger.app.__class__, "reader", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ledger.obligations({})
    assert ledger.obligations({}) == []


def test_the_store_in_memory_waits_as_long_as_it_takes(memory, monkeypatch):
    """The library's own pool gives up after five seconds; here the limit is as far as a test can see."""
    accept(memory, event())
    stopped = Stopped(monkeypatch)
    asked = []
    with threads(2) as pool:
        monkeypatch.setattr(memory.clock, "now", memory.clock.now)
        memory.people.forget()
        accept(memory, event())  # so that the answer begins by reading
        asked.append(pool.submit(memory.decide, ASK))
        stopped.reached()
        asked.append(pool.submit(accept, memory, event()))  # waits for the reader
        assert memory.app.store.datastore.pool.pool_timeout > 3_600
        stopped.go.set()
        answer, (position,) = (one.result(timeout=PATIENCE) for one in asked)
    assert answer.size == position == size(memory) - 1


# -- one size ----------------------------------------------------------------------------------------------------------


def between(monkeypatch, act):
    """Do something in another process, so to say, when an answer first loads a person."""
    load, done = People.person, []

    def person(people, identifier):
        if not done:
            done.append(1)
            act()
        return load(people, identifier)

    monkeypatch.setattr(People, "person", person)


@pytest.mark.parametrize("warm", [False, True])
def test_an_answer_names_the_size_that_all_of_it_is_of(store, monkeypatch, warm):
    accept(store.ledger, event("consent.granted"))
    other = store.open()
    if warm:  # the session knows the controller, and nobody yet: it reads for the first time when the person is loaded
        accept(store.ledger, event(subject="crm:2"))
        other.decide({**ASK, "subject": "crm:2"})
        other.decide({**ASK})
        other.people._people.clear()
    before = size(store.ledger)
    between(monkeypatch, lambda: accept(store.ledger, event("consent.withdrawn")))
    answer = other.decide(ASK)
    # cold, it began to read before the other wrote; warm, after: either is right, half of each is not
    assert (answer.outcome, answer.size) == (("deny", before + 1) if warm else ("permit", before))
    assert answer.to_dict()["size"] == answer.to_dict()["position"] == answer.position == answer.size
    assert all(ref.position < answer.size for ref in answer.because)
    assert (other.decide(ASK).outcome, other.decide(ASK).size) == ("deny", before + 1)


def test_the_size_of_an_answer_covers_all_that_decided_whenever_it_was_known(tmp_path):
    stream = generate(people=40, events=600, packs=PACKS)
    told = stream.told()
    sizes, decided = set(), 0
    with opening.create_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for pack in PACKS.values():
            ledger.app.add_pack(pack)
        for start in range(0, len(stream.events), 50):
            ledger.app.record(stream.events[start : start + 50], told[start : start + 50][-1])
        for subject in sorted({one["subject"] for one in stream.events if "subject" in one}):
            for known_at in (None, *(format_time(told[number]) for number in (200, 400, -1))):
                body = {**ASK, "subject": subject, "at": format_time(told[-1]), "known_at": known_at}
                try:
                    answer = ledger.decide(body)
                except InvalidQuestion:  # nobody had heard of them by then, or they are another controller's
                    continue
                assert all(ref.position < answer.size <= size(ledger) for ref in answer.because)
                decided += len(answer.because)
                sizes.add(answer.size)
    assert len(sizes) == 3
    assert decided > 20


def test_a_report_on_several_controllers_is_of_one_size(store, monkeypatch):
    both = [{"controller": controller} for controller in sorted(PACKS)]
    accept(store.ledger, *(event("access.requested", **of) for of in both))
    other = store.open()
    between(
        monkeypatch,
        lambda: accept(store.ledger, *(event("access.requested", {"request": "access-2"}, **of) for of in both)),
    )
    assert len(other.obligations({})) == len(PACKS)
    assert len(other.obligations({})) == 2 * len(PACKS)


def test_a_report_on_all_leaves_nobody_out_and_takes_nobody_from_later(store, monkeypatch):
    accept(store.ledger, *(event("access.requested", subject=f"crm:{number}") for number in range(3)))
    other = store.open()
    listed = other.projector.store.persons

    def and_then(controller):
        accept(store.ledger, event("access.requested", subject="crm:9"))
        store.ledger.projector.catch_up()  # into the same file, further than the report sees
        return listed(controller)

    with monkeypatch.context() as patch:
        patch.setattr(other.projector.store, "persons", and_then)
        assert len(other.obligations({"controller": "parature"})) == 3
    accept(store.ledger, event("access.requested", subject="crm:8"))
    monkeypatch.setattr(other.projector, "catch_up", lambda: 0)  # somebody else folds, and does not get on
    assert len(other.obligations({"controller": "parature"})) == 5


def test_what_failed_while_it_was_brought_up_is_brought_up_again(store, monkeypatch):
    accept(store.ledger, event("consent.granted"))
    other = store.open()
    assert other.decide(ASK).outcome == "permit"
    accept(store.ledger, event("consent.withdrawn"))
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "read_head", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            other.decide(ASK)
    assert other.decide(ASK).outcome == "deny"


def test_a_question_to_a_warm_session_begins_no_transaction(store):
    accept(store.ledger, event("consent.granted"))
    store.ledger.decide(ASK)
    statements = []
    store.ledger._session.reader._raw.set_trace_callback(statements.append)
    store.ledger.decide(ASK)
    assert statements == ["PRAGMA data_version"]


def test_no_transaction_outlives_its_answer(store, monkeypatch):
    accept(store.ledger, event("consent.granted"))
    with pytest.raises(InvalidQuestion):
        store.ledger.decide({**ASK, "subject": "nobody"})
    with monkeypatch.context() as patch:
        patch.setattr(People, "person", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.ledger.decide(ASK)
    raw = store.ledger._session.reader._raw
    assert not raw.in_transaction
    assert rows(store.ledger, "PRAGMA wal_checkpoint(TRUNCATE)")[0][0] == 0


def test_a_pack_that_another_process_added_counts_from_the_next_question_on(tmp_path, clock):
    name = f"sqlite:///{tmp_path / 'ledger.db'}"
    with opening.create_ledger(name) as one, opening.open_ledger(name) as other:
        for ledger in (one, other):
            with pytest.raises(InvalidQuestion, match="not registered"):
                ledger.decide(ASK)
        other.app.add_pack(PACKS["parature"])
        with pytest.raises(InvalidQuestion, match="no person"):
            one.decide(ASK)
        accept(other, published(), event("consent.granted"))
        assert one.decide(ASK).outcome == "permit"


# -- what is forgotten -------------------------------------------------------------------------------------------------


def test_who_another_process_erased_is_in_no_memory_after_the_next_question(store, monkeypatch):
    ledger = store.ledger
    accept(ledger, event("consent.granted", personal={"email": "ann@example.com"}), event(subject="crm:2"))
    for _ in range(2):  # the first time each that comes later lets the others forget
        with monkeypatch.context() as patch, threads(3) as pool:
            stopped = Stopped(patch, how_many=3)
            for _ in range(3):
                pool.submit(ledger.decide, ASK)
            stopped.reached(3)
            stopped.go.set()
    known = [session for session in ledger._sessions._idle if session.names]
    assert len(known) == 3
    person, app = ledger.app.person("parature", PERSON), ledger.app
    assert person in app.vault._data_keys  # by what was recorded
    maintenance.erase(store.open(), WHO)
    ledger.decide({**ASK, "subject": "crm:2"})
    for session in known:
        assert ("parature", PERSON) not in session.names
        assert person not in session.people._people
        assert person not in session.people._under
    assert person not in app.vault._data_keys
    assert person not in app.persons.values()
    assert person not in app.tips
    assert outcome_of_new_name(ledger) not in (None, person)


def outcome_of_new_name(ledger):
    accept(ledger, event("consent.granted", personal={"email": "new@example.com"}))
    return ledger.app.person("parature", PERSON)


def test_a_session_in_use_forgets_when_it_is_given_back(store, monkeypatch):
    ledger = store.ledger
    accept(ledger, event("consent.granted"), event(subject="crm:2"))
    stopped = Stopped(monkeypatch)
    # what is in the write-ahead log stays there while somebody reads: not what this is about
    monkeypatch.setattr(SQLiteStore, "truncate", lambda *_: None)
    with threads() as pool:
        asked = pool.submit(ledger.decide, ASK)
        stopped.reached()
        other = store.open()
        erasure.erase(other.app, "parature", PERSON, store.clock.now)
        ledger.decide({**ASK, "subject": "crm:2"})
        stopped.go.set()
        assert asked.result(timeout=PATIENCE).outcome == "permit"  # by what it saw
    assert not any(("parature", PERSON) in session.names for session in ledger._sessions._idle)
    with pytest.raises(InvalidQuestion, match="no person"):
        ledger.decide(ASK)


def test_a_writer_at_work_is_not_made_to_forget(store):
    accept(store.ledger, event())
    store.ledger.decide(ASK)
    accept(store.open(), event())
    with store.ledger.app._lock:
        assert in_thread(store.ledger.decide, ASK).size == size(store.ledger)
        assert store.ledger.app.persons
    accept(store.ledger, event())


def test_who_reads_keeps_no_key(store):
    accept(store.ledger, event("consent.granted", personal={"email": "ann@example.com"}))
    other = store.open()
    person = other.app.person("parature", PERSON)
    assert b"ann@example.com" in _unzipped(write_evidence(other.app, "parature", person, disclose=lambda _: True))
    with other.app.reading() as c:
        assert other.app.vault.names(c, person) == [PERSON]
    assert other.app.vault._data_keys == {}


def _unzipped(body):
    return zipfile.ZipFile(io.BytesIO(body)).read("manifest.json")


# -- the end -----------------------------------------------------------------------------------------------------------

CALLS = {
    "record": lambda ledger: ledger.record([event()]),
    "decide": lambda ledger: ledger.decide(ASK),
    "obligations": lambda ledger: ledger.obligations({}),
    "reading": lambda ledger: rows(ledger, "SELECT 1"),
    "catch_up": lambda ledger: ledger.projector.catch_up(),
    "person": lambda ledger: ledger.projector.person("0" * 32),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_ledger_says_so(ledger, name):
    accept(ledger, event())
    ledger.decide(ASK)
    ledger.close()
    ledger.close()
    for call in (CALLS[name], lambda one: in_thread(CALLS[name], one)):
        with pytest.raises(Closed, match="the ledger is closed: open it again"):
            call(ledger)
    assert issubclass(Closed, LedgerError)


def test_a_ledger_closes_at_the_end_of_its_block(tmp_path, clock):
    with opening.create_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        assert isinstance(ledger, Ledger)
    with pytest.raises(Closed):
        ledger.decide(ASK)
    assert not (tmp_path / "ledger.db-wal").exists()  # the last connection is gone


def test_closing_waits_for_the_answers_under_way_and_lets_nobody_in(ledger, monkeypatch):
    accept(ledger, event("consent.granted"))
    monkeypatch.setattr(sessions, "LIMIT", 1)
    stopped, closing, waiting = Stopped(monkeypatch), threading.Event(), threading.Event()
    wait_for = ledger._sessions._left.wait_for
    monkeypatch.setattr(ledger._sessions._left, "wait_for", lambda *args: closing.set() or wait_for(*args))
    turn = sessions._Turn()
    waits = turn.come.wait
    turn.come.wait = lambda: waiting.set() or waits()
    monkeypatch.setattr(sessions, "_Turn", lambda: turn)
    with threads(3) as pool:
        answer = pool.submit(ledger.decide, ASK)
        stopped.reached()
        late = pool.submit(ledger.decide, ASK)  # waits for the only session
        assert waiting.wait(PATIENCE)
        closed = pool.submit(ledger.close)
        assert closing.wait(PATIENCE)
        with pytest.raises(Closed):
            late.result(timeout=PATIENCE)
        with pytest.raises(Closed):
            ledger.record([event()])
        assert not closed.done()
        stopped.go.set()
        assert answer.result(timeout=PATIENCE).outcome == "permit"
        closed.result(timeout=PATIENCE)


def test_an_answer_cannot_close_its_own_ledger(ledger):
    accept(ledger, event())
    clock, ledger.clock = ledger.clock, ledger.close
    with pytest.raises(LedgerError, match="from inside"):
        ledger.decide(ASK)
    ledger.clock = clock
    assert ledger.decide(ASK).outcome == "deny"


def test_several_ledgers_of_one_store_in_one_process(tmp_path, clock):
    store = Store(tmp_path / "ledger.db")
    accept(store.ledger, event("consent.granted"))
    others = [store.open() for _ in range(4)]
    with threads(4) as pool:
        for one in [pool.submit(other.decide, ASK) for other in others]:
            assert one.result(timeout=PATIENCE).outcome == "permit"
    accept(others[0], event("consent.withdrawn"))
    assert {other.decide(ASK).outcome for other in others} == {"deny"}
    store.close()
