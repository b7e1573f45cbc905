"""Work that is stopped from outside, or finds no descriptors left: what it had taken is free for whoever comes next.

A stop is an exception that can come anywhere: Ctrl-C, a server's limit of time for a request.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from conftest import assert_whole, event, outcome_of, size, together
from eventsourcing.persistence import InterfaceError

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import StoreError
from consent_ledger.ledger.intake.batch import Batch
from consent_ledger.ledger.store.sqlite_pool import LedgerConnection, LedgerPool

PATIENCE = 20  # seconds for what would else hang


@pytest.fixture
def ledger(store):
    return store.ledger


class Stopped(BaseException):
    """What comes from outside."""


def in_time(call):
    """What a call gives in a thread of its own; fails where it hangs."""
    got = []

    def work():
        try:
            got.append(call())
        except BaseException as error:  # noqa: BLE001  told to the test
            got.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert got, "hangs"
    return got[0]


class Stopping:
    """Something whose `execute` is stopped once, when it has begun a transaction."""

    def __init__(self, inner, stops):
        self.inner, self.stops = inner, stops

    def execute(self, statement, *args):
        done = self.inner.execute(statement, *args)
        if statement.startswith("BEGIN") and self.stops:
            raise self.stops.pop()
        return done

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __enter__(self):
        return self.inner.__enter__()

    def __exit__(self, *args):
        return self.inner.__exit__(*args)


@pytest.mark.parametrize("what", ["record", "read", "fold"])
def test_a_stop_behind_the_beginning_of_a_transaction_leaves_none_open(ledger, monkeypatch, what):
    ledger.record([event("consent.granted")])
    stops = [Stopped()]
    if what == "fold":
        monkeypatch.setattr(ledger.projector.store, "db", Stopping(ledger.projector.store.db, stops))
    else:
        cursor = LedgerConnection.cursor
        monkeypatch.setattr(LedgerConnection, "cursor", lambda connection: Stopping(cursor(connection), stops))
    work = {
        "record": lambda: ledger.record([event()]),
        "read": ledger.app.current_head,
        "fold": ledger.projector.catch_up,
    }
    with pytest.raises(Stopped):
        work[what]()
    assert not stops
    monkeypatch.undo()
    assert in_time(lambda: ledger.record([event()])[0].kind) == "accepted"
    assert ledger.projector.catch_up() > 0


@pytest.mark.parametrize("commit", [True, False])
def test_a_connection_that_cannot_be_made_keeps_nobody_out_for_ever(ledger, monkeypatch, commit):
    with ExitStack() as taken, monkeypatch.context() as patch:
        while ledger.app.store.datastore.pool.num_in_pool:  # all that there are
            taken.enter_context(ledger.app.store.datastore.get_connection(commit=False))

        def none_left(_):
            raise InterfaceError("unable to open database file")

        patch.setattr(LedgerPool, "_create_connection", none_left)
        with pytest.raises((InterfaceError, StoreError)):
            ledger.record([event()]) if commit else ledger.app.page(0)
    assert in_time(lambda: ledger.record([event()])[0].kind) == "accepted"
    assert in_time(lambda: len(ledger.app.page(0))) == ledger.app.current_head().size


# -- those who are written with others ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["begun", "before commit", "after commit", "head noted"])
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt, ZeroDivisionError, MemoryError])
def test_what_happens_to_who_writes_happens_to_nobody_else(ledger, monkeypatch, where, error):
    """A stop is told to the thread that it was meant for; of a fault that is gone when it is tried again, nobody."""
    before, left = size(ledger), [error()]

    def hook(name):
        if name == where and left:
            raise left.pop()

    monkeypatch.setattr(crashpoints, "hook", hook)
    bodies = [event(subject=f"crm:{number}") for number in range(5)]
    came = together(ledger, bodies, monkeypatch)
    stopped = [body for body, one in zip(bodies, came, strict=True) if isinstance(one, BaseException)]
    assert len(stopped) == (not issubclass(error, Exception))
    assert {one.kind for one in came if not isinstance(one, BaseException)} == {"accepted"}
    for body in stopped:
        assert outcome_of(ledger, body).kind == "accepted"
    assert size(ledger) == before + 5
    assert_whole(ledger)


def test_a_fault_of_one_event_is_told_to_who_brought_it(ledger, monkeypatch):
    add = Batch.add

    def faulty(batch, prepared, now):
        if any(one.id == "bad" for one in prepared):
            raise ZeroDivisionError
        return add(batch, prepared, now)

    monkeypatch.setattr(Batch, "add", faulty)
    bodies = [event(), event(id="bad"), event(), event()]
    came = together(ledger, bodies, monkeypatch)
    assert [getattr(one, "kind", type(one)) for one in came] == ["accepted", ZeroDivisionError, "accepted", "accepted"]
    assert_whole(ledger)


def test_who_is_stopped_while_waiting_leaves_nothing_behind(ledger, monkeypatch):
    class Lock:
        def __enter__(self):
            raise Stopped

        def __exit__(self, *_):
            """Never entered."""

    before = size(ledger)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.app, "_lock", Lock())
        with pytest.raises(Stopped):
            ledger.record([event()])
    assert outcome_of(ledger, event()).kind == "accepted"
    assert size(ledger) == before + 1
