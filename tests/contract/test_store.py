"""What must hold of every store: the list at the top of `ledger.store.contract`, tried on each."""

from __future__ import annotations

import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from consent_ledger.ledger.errors import Closed, NotALedger, StoreError
from consent_ledger.ledger.files.held import hold
from consent_ledger.ledger.store.contract import Moved
from consent_ledger.ledger.store.sqlite import SQLiteStore, in_memory
from consent_ledger.ledger.store.tables import entries, meta

PATIENCE = 30


class Broken(Exception):
    """What a block raises to be undone."""


def put(c, *positions):
    c.executemany(
        "INSERT INTO entries VALUES (?,?,?,?,?,?)",
        [(one, f"stream-{one % 3}", one + 1, "a.type", b"leaf", b"state %d" % one) for one in positions],
    )


def write(store, *positions):
    with store.writing() as c:
        for one in positions:
            put(c, one)


def break_off(store, *positions):
    """Write, and raise before the end."""
    with store.writing() as c:
        put(c, *positions)
        meta.put(c, "note", b"1")
        raise Broken


def seen(c):
    return [position for position, _ in entries.page(c, 0, 1_000_000)]


class StoreContract:
    """Inherited by each store, which says how one is made and opened again."""

    def open(self):
        """The same store, opened once more; None where there is no such thing."""
        raise NotImplementedError

    @pytest.fixture
    def store(self):
        raise NotImplementedError

    # -- whole ---------------------------------------------------------------------------------------------------------

    def test_what_raises_is_undone_wholly(self, store):
        with store.writing() as c:
            put(c, 0)
        with pytest.raises(Broken):
            break_off(store, 1, 2)
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == [0]
            assert "note" not in meta.everything(c)

    def test_a_statement_that_fails_takes_all_of_its_transaction_with_it(self, store):
        with pytest.raises(StoreError):
            write(store, 0, 1, 0)  # there is one of that position
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == []

    def test_after_a_failure_the_next_one_writes(self, store):
        for number in range(40):  # more than there are connections
            with pytest.raises(Broken):
                break_off(store, number)
        with store.writing() as c:
            put(c, 0)
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == [0]

    # -- durable -------------------------------------------------------------------------------------------------------

    def test_what_is_written_is_there_when_it_is_opened_again(self, store):
        with store.writing() as c:
            put(c, *range(1_200))  # by whatever way many rows go
            meta.note(c, [("a", b"1"), ("a", b"2"), ("b", b"3")])
        store.close()
        again = self.open()
        if again is None:
            return
        with closing(again):
            assert again.check() > 0
            with again.reading() as moment, moment.cursor() as c:
                assert seen(c) == list(range(1_200))
                assert entries.state(c, 1_199) == b"state 1199"
                assert [meta.everything(c)[name] for name in "ab"] == [b"1", b"3"]

    @pytest.mark.parametrize("many", [1, 2, 30, 499, 500, 501, 2_000])
    def test_however_many_rows_come_they_are_all_there(self, store, many):
        with store.writing() as c:
            put(c, *range(many))
        with store.reading() as moment, moment.cursor() as c:
            assert entries.page(c, 0, many + 1) == [(one, b"state %d" % one) for one in range(many)]

    # -- alone ---------------------------------------------------------------------------------------------------------

    def test_writers_stand_in_line(self, store):
        """Each counts on from what it reads: none reads what another is about to overwrite."""

        def one_more():
            with store.writing() as c:
                found = seen(c)
                put(c, found[-1] + 1 if found else 0)

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(one_more) for _ in range(40)]:
                done.result(timeout=PATIENCE)
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == list(range(40))

    def test_writers_of_two_processes_stand_in_line(self, store):
        other = self.open()
        if other is None:
            return
        other.check()

        def one_more(through):
            with through.writing() as c:
                found = seen(c)
                put(c, found[-1] + 1 if found else 0)

        with closing(other), ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(one_more, (store, other)[number % 2]) for number in range(40)]:
                done.result(timeout=PATIENCE)
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == list(range(40))

    # -- one moment ----------------------------------------------------------------------------------------------------

    def test_what_is_read_is_of_one_moment(self, store):
        with store.writing() as c:
            put(c, 0)
        written, go = threading.Event(), threading.Event()

        def write():
            go.wait(PATIENCE)
            with store.writing() as c:
                put(c, 1)
            written.set()

        with ThreadPoolExecutor(1) as pool:
            task = pool.submit(write)
            with store.reading() as moment:
                with moment.cursor() as c:
                    assert seen(c) == [0]
                go.set()
                if not store.in_memory:  # there readers and writer keep each other out
                    assert written.wait(PATIENCE)
                with moment.cursor() as c:
                    assert seen(c) == [0]
            task.result(timeout=PATIENCE)
        with store.reading() as moment, moment.cursor() as c:
            assert seen(c) == [0, 1]

    def test_a_reader_knows_whether_anything_moved(self, store):
        with store.writing() as c:
            put(c, 0)
        reader = store.reader()
        with closing(reader):
            assert reader.moved()
            reader.begin()
            with reader.cursor() as c:
                assert seen(c) == [0]
            reader.end()
            assert not reader.moved()
            with reader.cursor() as c:  # the same moment, begun because it is read
                assert seen(c) == [0]
            reader.end()
            with store.writing() as c:
                meta.put(c, "note", b"")  # no entry, and yet
            assert reader.moved()
            with pytest.raises(Moved), reader.cursor() as c:
                pass
            reader.begin()
            reader.end()
            assert not reader.moved()
            reader.doubt()
            assert reader.moved()

    # -- news ----------------------------------------------------------------------------------------------------------

    def test_who_waits_is_told_of_what_was_written_since(self, store):
        watch = store.watch()
        with closing(watch):
            assert not watch.wait(0)
            with store.writing() as c:
                put(c, 0)
            assert watch.wait(0)
            assert not watch.wait(0)
            with pytest.raises(Broken):
                break_off(store, 1)
            with store.writing() as c:
                meta.put(c, "note", b"")  # no entry, and yet
            with store.writing() as c:
                put(c, 1)
            assert watch.wait(0)
            with store.reading() as moment, moment.cursor() as c:
                assert seen(c) == [0, 1]

    def test_who_waits_wakes_when_something_is_written(self, store):
        watch, paused = store.watch(), threading.Event()
        pause = watch._pause

        def pausing(seconds):
            paused.set()
            pause(seconds)

        watch._pause = pausing
        with closing(watch), ThreadPoolExecutor(1) as pool:
            task = pool.submit(watch.wait, PATIENCE)
            assert paused.wait(PATIENCE)
            with store.writing() as c:
                put(c, 0)
            assert task.result(timeout=PATIENCE) is True

    def test_who_waits_hears_of_nothing_in_time(self, store):
        watch, pauses = store.watch(), []
        watch._pause = pauses.append
        with closing(watch):
            assert watch.wait(0.01) is False
        assert pauses[:2] == sorted(pauses[:2])
        assert max(pauses) <= 0.01

    # -- forever -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("statement", ["DELETE FROM {table}", "UPDATE {table} SET {column}={column}"])
    @pytest.mark.parametrize(("table", "column"), [("entries", "state"), ("subtrees", "hash")])
    def test_what_is_for_ever_is_never_changed(self, store, statement, table, column):
        with store.writing() as c:
            put(c, 0)
            c.execute("INSERT INTO subtrees VALUES (1,0,?)", [b"hash"])
        with pytest.raises(StoreError, match="never changed"), store.writing() as c:
            c.execute(statement.format(table=table, column=column))
        with store.reading() as moment, moment.cursor() as c:
            assert entries.state(c, 0) == b"state 0"

    # -- in order, and at the end --------------------------------------------------------------------------------------

    def test_what_was_written_is_seen_at_once(self, store):
        for number in range(20):
            with store.writing() as c:
                put(c, number)
            with store.reading() as moment, moment.cursor() as c:
                assert seen(c)[-1] == number

    def test_the_rows_that_come_are_those_of_the_last_question(self, store):
        with store.writing() as c:
            put(c, 0, 1, 2)
            c.execute("SELECT position FROM entries WHERE position=?", [0])
            c.execute("UPDATE meta SET value=? WHERE name=?", [b"", "no such"])
            c.execute("SELECT position FROM entries WHERE position>? ORDER BY position", [0])
            assert (c.fetchone(), c.fetchall()) == ((1,), [(2,)])

    @pytest.mark.parametrize("many", [1, 2, 700])
    def test_many_values_are_asked_for_at_once(self, store, many):
        wanted = list(range(0, 2 * many, 2))
        marks = ",".join("?" * many)
        with store.writing() as c:
            put(c, *range(2 * many))
            c.execute(
                f"SELECT position FROM entries WHERE type=? AND position IN ({marks}) AND stream<>? ORDER BY position",
                ["a.type", *wanted, "?"],
            )
            assert [row[0] for row in c.fetchall()] == wanted
            c.execute(f"SELECT position FROM entries WHERE position NOT IN ({marks}) ORDER BY position", wanted)
            assert [row[0] for row in c.fetchall()] == [one + 1 for one in wanted]
            values = ",".join(["(?)"] * many)
            c.execute(f"WITH told (one) AS (VALUES {values}) SELECT one FROM told ORDER BY one", wanted)
            assert [row[0] for row in c.fetchall()] == wanted

    def test_what_is_absent_of_all_or_some_rows_is_absent(self, store):
        rows = [(b"1", "p", None, None, None), (b"2", "p", None, b"bound", None)]
        with store.writing() as c:
            c.executemany("INSERT INTO aliases VALUES (?,?,?,?,?)", rows)
            c.execute("SELECT alias, person, sealed, bound, word FROM aliases ORDER BY alias")
            assert c.fetchall() == rows

    def test_bytes_and_texts_come_back_as_they_went(self, store):
        values = [b"", b"\0", bytes(range(256)), "\u00e9\u4e2d\U0001f600".encode()]
        with store.writing() as c:
            c.executemany(
                "INSERT INTO entries VALUES (?,?,?,?,?,?)",
                [(n, "stream \u00e9 % ? '", n + 1, "type", b"", value) for n, value in enumerate(values)],
            )
        with store.reading() as moment, moment.cursor() as c:
            found = entries.of_stream(c, "stream \u00e9 % ? '")
            assert found == list(enumerate(values))
            assert all(type(state) is bytes for _, state in found)

    def test_names_are_in_the_order_of_their_bytes(self, store):
        names = ["b", "B", "a-1", "a_1", "a1", "\u00e9"]
        with store.writing() as c:
            meta.note(c, [(f"x:{name}", b"") for name in names])
        with store.reading() as moment, moment.cursor() as c:
            assert meta.names(c, "x:") == sorted(f"x:{name}" for name in names)

    def test_a_closed_store_says_so(self, store):
        store.close()
        assert store.closed
        with pytest.raises(Closed), store.reading():
            pass
        with pytest.raises(Closed), store.writing():
            pass


class TestMemory(StoreContract):
    def open(self):
        return None

    @pytest.fixture
    def store(self):
        made = in_memory()
        with made.writing() as c:
            made.create(c)
        yield made
        made.close()


class TestSQLite(StoreContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path):
        self.path = tmp_path / "store.db"
        self.path.touch()

    def open(self):
        return SQLiteStore(f"file:{self.path}?mode=rw", where=str(self.path), held=hold(self.path))

    @pytest.fixture
    def store(self, _path):
        made = self.open()
        assert made.is_empty()
        with made.writing() as c:
            made.create(c)
        made.settle()
        assert not made.is_empty()
        yield made
        made.close()


class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _address(self, postgres):
        self.address = postgres.schema()

    def open(self):
        from consent_ledger.ledger.store.postgres import PostgresStore

        return PostgresStore(self.address)

    @pytest.fixture
    def store(self, _address):
        made = self.open()
        assert made.is_empty()
        with pytest.raises(NotALedger, match="no such store"):
            made.check()
        with made.writing() as c:
            made.create(c)
        assert not made.is_empty()
        yield made
        made.close()

    def test_rows_that_nobody_fetched_and_that_came_late_are_not_those_of_the_next_question(self, store):
        with store.writing() as c:
            put(c, 0, 1)
            c.execute("INSERT INTO entries VALUES (2,'long',1,'a.type',?,?)", [b"", bytes(1_000_000)])
            c.execute("SELECT position FROM entries WHERE position=?", [0])
            c.execute("SELECT state FROM entries WHERE position=?", [2])  # pushes the answers before it through
            assert select.select([c._connection.fileno()], [], [], PATIENCE)[0]
            c.execute("SELECT position FROM entries WHERE position=?", [1])
            assert c.fetchall() == [(1,)]

    def test_a_writer_wakes_those_who_wait_without_their_looking(self, store):
        """Of the wait that is told, one pause is all: it ends as soon as something is written."""
        watch, began, pauses = store.watch(), threading.Event(), []
        pause = watch._pause

        def long_pause(seconds):
            pauses.append(seconds)
            began.set()
            pause(PATIENCE)

        watch._pause = long_pause
        with closing(watch), ThreadPoolExecutor(1) as pool:
            started = time.monotonic()
            task = pool.submit(watch.wait, 10 * PATIENCE)
            assert began.wait(PATIENCE)
            with store.writing() as c:
                put(c, 0)
            assert task.result(timeout=PATIENCE) is True
            assert time.monotonic() - started < PATIENCE
        assert len(pauses) == 1

    def test_who_hears_nothing_looks(self, store):
        """As behind a pooler that hands LISTEN to another session."""
        watch = store.watch()
        watch._pause = lambda _: write(store, 0)
        with closing(watch):
            assert watch.wait(PATIENCE) is True
