"""A ledger moved from a file to PostgreSQL and back: all of it or nothing, and one log whatever goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import BytesIO
from pathlib import Path

import crash_child
import pytest
from conftest import Cli, Clock, accept, event
from lived import answers, contents, tell

from consent_ledger.consumers import maintenance, moving, opening
from consent_ledger.consumers.demo.generator import NOW, generate
from consent_ledger.consumers.ingest import ingest
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import KeyFileError, NotALedger, StoreBehind, StoreError
from consent_ledger.ledger.proof.audit import StoreCorrupt
from consent_ledger.ledger.store import rows
from consent_ledger.ledger.store.postgres import PostgresStore
from consent_ledger.ledger.store.postgres_schema import OF_SERVER, TABLES, column_types, primary_key
from consent_ledger.ledger.store.sqlite import in_memory

KINDS = {"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea"}
UNDONE = ("page copied", "copy filled", "before copy commit")  # points before the one commit


@pytest.fixture(scope="module")
def stream():
    return generate(3, 100, 1200, packs=opening.shipped_packs())


@pytest.fixture(scope="module")
def original(tmp_path_factory, stream):
    """A store with everything in it; tests copy its folder before they write."""
    path = tmp_path_factory.mktemp("moving") / "shop.db"
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "clock", clock)
        with opening.create_ledger(f"sqlite:///{path}") as ledger:
            tell(ledger, clock, stream)
            assert [name for name, found in contents(ledger).items() if not found] == []
    return path


@pytest.fixture
def shop(original, tmp_path, monkeypatch):
    """The path of a store that may be written, under a clock that is later than all of it."""
    monkeypatch.setattr(opening, "clock", Clock(NOW))
    shutil.copytree(original.parent, tmp_path / "shop")
    return tmp_path / "shop" / "shop.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request, tmp_path):
    """The name of a store that is not there, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'there.db'}"
    return request.getfixturevalue("postgres").schema()


def opened(name, shop):
    return closing(opening.open_ledger(name, f"{shop}.keys"))


# -- the same ledger ---------------------------------------------------------------------------------------------------


def test_both_kinds_of_store_have_the_same_columns():
    """What is copied is what one list says: a table or column that only one of them had would be lost."""
    store = in_memory()
    with closing(store), store.writing() as c:
        store.create(c)
        c.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite%'")
        assert {row[0] for row in c.fetchall()} == set(rows.COPIED) == TABLES.keys() - set(OF_SERVER)
        for table in rows.COPIED:
            c.execute(f"PRAGMA table_info({table})")
            found = c.fetchall()
            assert [(row[1], KINDS[row[2]]) for row in found] == column_types(table), table
            assert [row[1] for row in sorted(found, key=lambda row: row[5]) if row[5]] == primary_key(table), table
            needed = {row[1] for row in found if row[3]} - set(primary_key(table))
            assert needed == {one.split()[0] for one in TABLES[table] if "NOT NULL" in one}, table


def test_the_tables_of_a_server_are_those_of_the_list(postgres):
    store = PostgresStore(postgres.schema())
    with closing(store):
        with store.writing() as c:
            store.create(c)
        with store.reading() as moment, moment.cursor() as c:
            c.execute(
                "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema=? "
                "ORDER BY table_name, ordinal_position",
                [store.schema],
            )
            found = c.fetchall()
    assert {table for table, _, _ in found} == set(TABLES)
    for table in TABLES:
        assert [(name, kind) for where, name, kind in found if where == table] == column_types(table)


@pytest.mark.parametrize("page", [1_000_000, 7])
def test_there_and_back_nothing_is_lost(shop, elsewhere, stream, monkeypatch, page, tmp_path):
    monkeypatch.setattr(rows, "PAGE_ROWS", page)
    with opened(f"sqlite:///{shop}", shop) as ledger:
        head, whole, said = ledger.app.current_head(), contents(ledger), answers(ledger, stream)
    copied = moving.copy(f"sqlite:///{shop}", elsewhere)
    assert (copied.entries, copied.erased, copied.behind) == (head.size, 0, None)
    back = f"sqlite:///{tmp_path / 'back.db'}"
    assert moving.copy(elsewhere, back, f"{shop}.keys").entries == head.size
    for name in (elsewhere, back):
        with opened(name, shop) as ledger:
            assert ledger.app.current_head() == head
            assert contents(ledger) == whole
            assert answers(ledger, stream) == said
            assert all(check["ok"] for check in maintenance.examine(ledger))
    assert not list(tmp_path.glob("*.partial*"))


def test_it_goes_on_where_it_was(shop, elsewhere, stream):
    """What was told before counts once, what is new comes after, and a dead letter gets a number that none had."""
    with opened(f"sqlite:///{shop}", shop) as ledger:
        last = contents(ledger)["last letter"]
    moving.copy(f"sqlite:///{shop}", elsewhere)
    with opened(elsewhere, shop) as ledger:
        size = ledger.app.current_head().size
        again = ledger.record(stream.events[:300])
        assert not [one for one in again if one.kind == "accepted" and not one.duplicate]
        assert ledger.app.current_head().size == size
        assert accept(ledger, event(time=NOW)) == [size]
        assert ingest(ledger, BytesIO(b"no event\n"), "new").invalid == 1
        assert contents(ledger)["dead_letters"][-1][0] == last + 1
        assert ledger.verify()


# -- one log -----------------------------------------------------------------------------------------------------------


def test_of_a_store_and_its_copy_one_goes_on_and_the_other_is_read(shop, elsewhere):
    moving.copy(f"sqlite:///{shop}", elsewhere)
    with opened(elsewhere, shop) as copy, opened(f"sqlite:///{shop}", shop) as ledger:
        accept(copy, event(time=NOW))
        with pytest.raises(StoreBehind, match="have signed a longer log"):
            ledger.record([event(time=NOW)])
        assert ledger.verify()


def test_the_store_may_go_on_instead_of_its_copy(shop, elsewhere):
    moving.copy(f"sqlite:///{shop}", elsewhere)
    with opened(elsewhere, shop) as copy, opened(f"sqlite:///{shop}", shop) as ledger:
        accept(ledger, event(time=NOW))
        with pytest.raises(StoreBehind, match="have signed a longer log"):
            copy.record([event(time=NOW)])


def test_a_store_that_is_written_meanwhile_makes_a_copy_that_says_so(shop, elsewhere, monkeypatch):
    """One moment is copied. Whoever was erased after it is erased in the copy, too."""
    with opened(f"sqlite:///{shop}", shop) as ledger:
        accept(ledger, event("subject.registered", personal={"email": "eve@example.com"}, subject="eve", time=NOW))
        size = ledger.app.current_head().size
        once = []

        def meanwhile(point):
            if point == "page copied" and not once:
                once.append(point)
                accept(ledger, event(time=NOW))
                ledger.erase({"controller": "parature", "subject": "eve"})

        monkeypatch.setattr(crashpoints, "hook", meanwhile)
        copied = moving.copy(f"sqlite:///{shop}", elsewhere)
    assert once
    assert (copied.entries, copied.erased) == (size, 1)
    assert copied.behind.startswith(f"{copied.store}: has {size} entries, and its keys have signed a longer log")
    with closing(opening.open_to_read(elsewhere, f"{shop}.keys")) as copy:  # which erases nobody
        assert copy.app.person("parature", "eve") is None
    with opened(elsewhere, shop) as copy, pytest.raises(StoreBehind):
        copy.record([event(time=NOW)])


def test_a_copy_needs_the_keys_of_the_store(shop, elsewhere, tmp_path):
    with opening.create_ledger(f"sqlite:///{tmp_path / 'other.db'}"):
        pass
    with pytest.raises(KeyFileError):
        moving.copy(f"sqlite:///{shop}", elsewhere, f"{tmp_path / 'other.db'}.keys")
    require_nothing(elsewhere)


# -- all or nothing ----------------------------------------------------------------------------------------------------


def require_nothing(name):
    """There is no store of that name, nor anything else that was left."""
    if opening.server_address(name) is None:
        path = opening.store_path(name)
        assert not path.exists()
        for left in path.parent.glob(f"{path.name}.partial"):  # of a process that was killed
            with pytest.raises(NotALedger):
                opening.open_ledger(str(left), f"{path}.keys")
        return
    with closing(PostgresStore(name)) as store:
        assert store.is_empty()
        with pytest.raises(NotALedger, match="no such store"):
            store.check()


def killed(shop, target, *kill):
    """Copy in a process of its own that dies at a point."""
    job = {"store": f"sqlite:///{shop}", "mode": "copy", "to": target, "kill": ["point", *kill]}
    command = [sys.executable, crash_child.__file__, json.dumps(job)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("kill", [*((point, 1) for point in UNDONE), ("page copied", 3)], ids=str)
def test_killed_before_its_end_it_leaves_nothing_and_is_made_by_the_next_one(shop, elsewhere, kill):
    killed(shop, elsewhere, *kill)
    require_nothing(elsewhere)
    size = moving.copy(f"sqlite:///{shop}", elsewhere).entries
    with opened(elsewhere, shop) as ledger:
        assert ledger.app.current_head().size == size
        assert ledger.verify()


def test_killed_right_after_its_commit_it_is_whole(shop, postgres):
    address = postgres.schema()
    killed(shop, address, "copy there", 1)
    with opened(f"sqlite:///{shop}", shop) as ledger, opened(address, shop) as copy:
        assert contents(copy) == contents(ledger)
        assert copy.verify()


def test_what_is_there_already_is_left_alone(shop, elsewhere):
    moving.copy(f"sqlite:///{shop}", elsewhere)
    with opened(elsewhere, shop) as ledger:
        accept(ledger, event(time=NOW))
        whole = contents(ledger)
    for source in (f"sqlite:///{shop}", elsewhere):
        with pytest.raises(NotALedger, match="already"):
            moving.copy(source, elsewhere, f"{shop}.keys")
    with opened(elsewhere, shop) as ledger:
        assert contents(ledger) == whole


DAMAGE = {
    "an entry": ("DROP TRIGGER entries_update", "UPDATE entries SET state=x'7b7d' WHERE position=5"),
    "a table that follows from the log": ("DELETE FROM mentions",),
    "a text": ("UPDATE documents SET body=x'00'",),
    "no bytes": ("UPDATE people SET wrapped='text' WHERE person=(SELECT min(person) FROM people)",),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_store_makes_no_copy(shop, elsewhere, what):
    with closing(sqlite3.connect(shop, isolation_level=None)) as db:
        for statement in DAMAGE[what]:
            assert db.execute(statement).rowcount
    with pytest.raises((StoreCorrupt, StoreError)) as error:
        moving.copy(f"sqlite:///{shop}", elsewhere)
    if what == "no bytes":
        assert "people.wrapped: holds str, expected bytes" in str(error.value)
    require_nothing(elsewhere)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_where_the_ledger_is_and_with_what_keys(shop, elsewhere, tmp_path):
    cli, keys = Cli(f"sqlite:///{shop}"), f"{shop}.keys"
    said = cli("copy", f"sqlite:///{shop}", elsewhere).stdout
    with opened(elsewhere, shop) as ledger:
        where, size = ledger.app.where, ledger.app.current_head().size
    assert said.startswith(f"{where}: {size} entries, checked")
    assert f"keys   {keys} " in said
    assert cli("verify", "--store", elsewhere, "--keys", keys).stdout.startswith(f"holds: {size}")
    third = f"sqlite:///{tmp_path / 'third.db'}"
    document = cli.json("copy", elsewhere, third, "--keys", keys)
    assert document == {"store": str(tmp_path / "third.db"), "keys": keys, "entries": size, "erased": 0, "behind": None}
    assert "already" in cli.fails("copy", elsewhere, third, "--keys", keys)
    assert "there is no such store" in cli.fails("copy", f"sqlite:///{tmp_path / 'nothing.db'}", elsewhere)


def test_the_command_complains_where_the_copy_is_behind(shop, tmp_path, monkeypatch):
    with opened(f"sqlite:///{shop}", shop) as ledger:
        monkeypatch.setattr(
            crashpoints, "hook", lambda point: accept(ledger, event(time=NOW)) if point == "copy filled" else None
        )
        done = Cli("")("copy", f"sqlite:///{shop}", f"sqlite:///{tmp_path / 'there.db'}")
    assert "have signed a longer log" in done.stderr
    assert "stop what writes the store, and copy it once more" in done.stderr
