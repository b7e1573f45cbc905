"""What must hold of projections wherever they are: the list at the top of `projections.store.contract`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from conftest import accept, event

from consent_ledger.consumers.demo.generator import bench_events, generate
from consent_ledger.consumers.health import examine
from consent_ledger.consumers.opening import create_ledger, open_ledger, shipped_packs
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import Closed, StoreReadOnly
from consent_ledger.ledger.intake.erasure import erase
from consent_ledger.projections.read import projector as module
from consent_ledger.projections.read.projector import Projector, rebuild

PATIENCE = 30
CONTROLLER = "parature"


class Broken(Exception):
    """What a block raises to be undone."""


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    """(the address of a store that is not there yet, the folder of its keys)."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}", str(tmp_path / "keys")
    return request.getfixturevalue("postgres").schema(), str(tmp_path / "keys")


@pytest.fixture
def ledger(address):
    with create_ledger(*address) as made:
        for body in shipped_packs().values():
            made.app.add_pack(body)
        yield made


@pytest.fixture
def server(postgres, tmp_path):
    """A ledger in a server."""
    with create_ledger(postgres.schema(), str(tmp_path / "keys")) as made:
        made.app.add_pack(shipped_packs()[CONTROLLER])
        yield made


def fill(ledger, people=60, events=600):
    stream = generate(people=people, events=events, packs=shipped_packs())
    ledger.app.record(stream.events, stream.told()[-1])


def contents(projector):
    return projector.cursor, list(projector._contents())


def from_the_log(ledger):
    fresh = Projector(ledger.app, None)
    with closing(fresh):
        fresh.catch_up()
        return contents(fresh)


def save_and_break(store):
    with store.transaction():
        store.save_page([row("01")], 1, b"root")
        raise Broken


def row(person, controller=CONTROLLER, tip=b"tip"):
    return (person, controller, 1, 2, 3, 0, tip, b"snapshot", b"tag")


def execute(ledger, statement, *params):
    """A statement to the server; `{}` stands for its schema."""
    with ledger.app.store.lent() as connection:
        return connection.execute(statement.format(ledger.app.store.schema).encode(), params)


# -- together ----------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_went(ledger):
    store = ledger.projector.store
    rows = [row(f"{n:02x}", "other" if n % 2 else CONTROLLER) for n in range(20)] + [row("ff", "")]
    with store.transaction():
        assert not store.require_kind()
        store.save_page(rows, 21, b"root")
        assert store.cursor_inside() == (21, b"root")
        assert store.person_inside("01") == rows[1]
        store.save_judged([("01", b"t", b"a", b"[]", b"[]", b"old"), ("01", b"t", b"a", b"[]", b"[]", b"new")])
    assert store.cursor() == (21, b"root")
    assert store.person("01") == rows[1]
    assert store.person("no such") is None
    assert store.persons(CONTROLLER) == (21, b"root", [one[0] for one in rows if one[1] != "other"])
    assert store.judged("01", b"t", b"a") == ("01", b"t", b"a", b"[]", b"[]", b"new")
    assert store.judged("01", b"another", b"a") is None
    assert [one for page in store.pages("people") for one in page] == rows
    assert [one for page in store.snapshots() for one in page] == [(one[0], 1, b"snapshot") for one in rows]
    with store.transaction():
        store.save_page([row("01", tip=b"next")], 22, b"")
    assert store.person("01") == row("01", tip=b"next")


def test_what_raises_is_undone_wholly(ledger):
    store = ledger.projector.store
    before = store.cursor()
    with pytest.raises(Broken):
        save_and_break(store)
    assert (store.cursor(), store.person("01")) == (before, None)
    with store.transaction():
        store.save_page([row("01")], 1, b"root")
    assert store.cursor() == (1, b"root")


@pytest.mark.parametrize("point", ["projection written", "projection committed"])
def test_each_entry_counts_once_wherever_it_stops(ledger, monkeypatch, point):
    fill(ledger)
    monkeypatch.setattr(module, "PAGE", 200)
    hits = []

    def stop(name):
        hits.append(name)
        if name == point and hits.count(name) == 2:
            raise Broken

    monkeypatch.setattr(crashpoints, "hook", stop)
    with pytest.raises(Broken):
        ledger.projector.catch_up()
    monkeypatch.setattr(crashpoints, "hook", None)
    assert ledger.projector.cursor == (200 if point == "projection written" else 400)
    ledger.projector.catch_up()
    assert contents(ledger.projector) == from_the_log(ledger)


def test_a_closed_one_says_so(ledger):
    ledger.projector.close()
    with pytest.raises(Closed):
        ledger.projector.store.cursor()
    with pytest.raises(Closed), ledger.projector.store.transaction():
        pass


# -- one at once -------------------------------------------------------------------------------------------------------


def test_of_two_processes_that_fold_each_entry_is_folded_by_one(ledger, address, monkeypatch):
    fill(ledger)
    monkeypatch.setattr(module, "PAGE", 20)
    with open_ledger(*address) as other, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(one.projector.catch_up) for one in (ledger, other)]
        done = [one.result(timeout=PATIENCE) for one in both]
        assert sum(done) == ledger.app.current_head().size
        assert contents(ledger.projector) == contents(other.projector) == from_the_log(ledger)


def test_a_transaction_waits_for_that_of_another_process(ledger, address):
    began, seen = threading.Event(), []
    with open_ledger(*address) as other, ThreadPoolExecutor(1) as pool:

        def second():
            began.set()
            with other.projector.store.transaction():
                seen.append(other.projector.store.cursor_inside())

        with ledger.projector.store.transaction():
            task = pool.submit(second)
            assert began.wait(PATIENCE)
            ledger.projector.store.save_page([row("01")], 7, b"root")
            assert seen == []
        task.result(timeout=PATIENCE)
    assert seen == [(7, b"root")]


# -- whole -------------------------------------------------------------------------------------------------------------


def test_rebuild_says_who_differs_and_puts_it_right(ledger):
    fill(ledger)
    ledger.projector.catch_up()
    first, second, third = ledger.projector.persons(CONTROLLER)[:3]
    store = ledger.projector.store
    strange = (second, *store.person(first)[1:])
    stranger = ("zz", *store.person(third)[1:])
    with store.transaction():
        store.save_page([strange, stranger], *store.cursor_inside())
    assert {one.person for one in ledger.projector.damaged()} == {second, "zz"}
    folded, differences = rebuild(ledger.app, ledger.projector.place)
    assert folded == ledger.app.current_head().size
    assert {(one.person, one.what) for one in differences} == {
        (second, "state differs"),
        ("zz", "is not in the log"),
    }
    assert ledger.projector.damaged() == []
    assert contents(ledger.projector) == from_the_log(ledger)
    assert rebuild(ledger.app, ledger.projector.place)[1] == []


def test_a_rebuild_that_stops_before_the_exchange_leaves_the_old_rows(ledger, monkeypatch):
    fill(ledger)
    ledger.projector.catch_up()
    store = ledger.projector.store
    with store.transaction():
        store.save_page([row("zz")], *store.cursor_inside())

    def stop(name):
        if name == "before swap":
            raise Broken

    monkeypatch.setattr(crashpoints, "hook", stop)
    with pytest.raises(Broken):
        rebuild(ledger.app, ledger.projector.place)
    assert store.person("zz") == row("zz")
    monkeypatch.setattr(crashpoints, "hook", None)
    assert [one.person for one in rebuild(ledger.app, ledger.projector.place)[1]] == ["zz"]
    assert store.person("zz") is None


# -- expendable, and not believed --------------------------------------------------------------------------------------


def test_rows_of_another_kind_are_folded_anew(ledger):
    fill(ledger)
    ledger.projector.catch_up()
    before = contents(ledger.projector)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCHEMA_FORMAT", module.SCHEMA_FORMAT + 1)
        other = Projector(ledger.app, ledger.projector.place)
        with closing(other):
            assert other.catch_up() == before[0]
            assert contents(other) == before
    again = Projector(ledger.app, ledger.projector.place)
    with closing(again):
        assert again.catch_up() == before[0]
        assert (contents(again), again.damaged()) == (before, [])


@pytest.mark.parametrize("tables", [["cursor"], ["people", "judged"], ["cursor", "people", "judged"]])
def test_tables_that_are_dropped_under_way_are_there_again(server, tables):
    server.record(list(bench_events(300, 3)))
    server.projector.catch_up()
    for table in tables:
        execute(server, f"DROP TABLE {{}}.projection_{table}")
    assert server.findings({"controller": CONTROLLER, "at": "2030-01-01T00:00:00Z"})
    server.projector.catch_up()
    assert contents(server.projector) == from_the_log(server)


def test_the_next_process_folds_only_what_is_new(server, postgres, tmp_path):
    server.record(list(bench_events(300, 3)))
    server.projector.catch_up()
    address = f"{postgres.address}{server.app.store.schema}"
    with open_ledger(address, str(tmp_path / "keys")) as other:
        assert other.projector.catch_up() == 0
        assert contents(other.projector) == contents(server.projector)


def test_the_row_of_an_erased_person_is_what_folding_their_erasure_gives(ledger):
    name = "crm:4711"
    accept(
        ledger,
        event("consent.granted", {"purpose": "newsletter", "list": "product-news", "basis": "express"}, subject=name),
    )
    ledger.projector.catch_up()
    person = ledger.app.person(CONTROLLER, name)
    before = ledger.projector.store.person(person)
    erase(ledger.app, CONTROLLER, name, ledger.clock())
    ledger.projector.catch_up()
    assert ledger.projector.store.person(person) != before
    assert contents(ledger.projector) == from_the_log(ledger)


# -- who may not keep any ----------------------------------------------------------------------------------------------


@pytest.fixture
def guest(server, postgres):
    """Opens the ledger once more as a role that may write the ledger, and may make no tables."""
    name = f"guest_{server.app.store.schema}"
    execute(server, f"CREATE ROLE {name} LOGIN")
    execute(server, f"GRANT USAGE ON SCHEMA {{}} TO {name}")
    execute(server, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {{}} TO {name}")
    address = postgres.address.replace("ledger@", f"{name}@")
    yield f"{address}{server.app.store.schema}", name
    execute(server, f"DROP OWNED BY {name}")
    execute(server, f"DROP ROLE {name}")


def test_who_may_write_the_tables_need_not_be_who_made_them(server, guest, tmp_path):
    server.record(list(bench_events(100, 3)))
    with open_ledger(guest[0], str(tmp_path / "keys")) as other:
        assert other.projector.why_in_memory is None
        assert other.projector.catch_up() == server.app.current_head().size
    assert server.projector.catch_up() == 0


@pytest.mark.parametrize("what", ["DROP TABLE {}.projection_people", "REVOKE UPDATE ON {}.projection_people FROM %s"])
def test_who_may_not_folds_in_memory_and_doctor_says_so(server, guest, tmp_path, what):
    server.record(list(bench_events(100, 3)))
    execute(server, what.replace("%s", guest[1]))
    with open_ledger(guest[0], str(tmp_path / "keys")) as other:
        assert "may" in other.projector.why_in_memory or "permission denied" in other.projector.why_in_memory
        said = next(one["says"] for one in examine(other) if one["check"] == "projections")
        assert "they are in memory" in said
        assert contents(other.projector) == from_the_log(other)
        with pytest.raises(StoreReadOnly):
            rebuild(other.app, other.projector.place)
