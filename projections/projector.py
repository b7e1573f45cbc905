"""The projection on disk: the state of every person, in a file of its own beside the store.

The file can be deleted at any time and is rebuilt from the log alone. Pages of entries are folded, and their rows
saved together with the cursor, in one transaction: whatever happens, each entry counts exactly once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from ledger import points
from ledger.application import LedgerApplication
from ledger.collector import paused
from ledger.entry import Entry, decode
from ledger.recorder import readable_errors
from projections.record import State, new_state
from projections.snapshot import FORMAT, dump, load
from projections.state import evolve, fold

SCHEMA_FORMAT: Final = 300 + FORMAT
PAGE: Final = 20_000
KEPT: Final = 50_000  # states remembered between pages
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL, root BLOB);
CREATE TABLE IF NOT EXISTS people (
    person TEXT PRIMARY KEY, controller TEXT NOT NULL, entries INTEGER NOT NULL,
    last_time INTEGER NOT NULL, last_recorded INTEGER NOT NULL, linked INTEGER NOT NULL, snapshot BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS people_by_controller ON people (controller);
-- What was done to a person and by which clause, judged when it was first asked for; void when `entries` of the person
-- or `about` the controller have grown since.
CREATE TABLE IF NOT EXISTS judged (
    person TEXT PRIMARY KEY, entries INTEGER NOT NULL, about INTEGER NOT NULL, findings BLOB NOT NULL,
    permitted_by BLOB NOT NULL
) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Row:
    """One person in the projection."""

    controller: str
    last_time: int
    last_recorded: int
    linked: bool
    state: State
    late: bool = False  # news came late: to be folded again at the end of the page


@dataclass(frozen=True, slots=True)
class Difference:
    """A person whose rebuilt row is not the old one."""

    person: str
    what: str


class Projector:
    """Keeps the projections of one store. `path` None: in memory."""

    def __init__(self, app: LedgerApplication, path: Path | None) -> None:
        self.app = app
        self.path = path
        where = f"{path}: the projections can't be used (delete that file, it is folded anew)" if path else "memory"
        with readable_errors(where):
            self.db = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None, timeout=10)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")  # what is lost in a power cut is folded again
            if self.db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_FORMAT:
                self._clear()
            self.db.executescript(_SCHEMA)
            self.db.execute("INSERT OR IGNORE INTO cursor VALUES (1, 0, NULL)")
        self._rows: dict[str, Row] = {}
        self._folded = 0  # the cursor that `_rows` belong to: another process may have moved it

    def _clear(self) -> None:
        for table in ("cursor", "people", "judged"):
            self.db.execute(f"DROP TABLE IF EXISTS {table}")
        self.db.execute(f"PRAGMA user_version={SCHEMA_FORMAT}")

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    @property
    def cursor(self) -> int:
        """The next position to fold."""
        next_position: int = self.db.execute("SELECT next FROM cursor").fetchone()[0]
        return next_position

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Fold what is new. Returns the number of entries folded. Starts anew where the log is another one."""
        done = 0
        if self.cursor > self.app.current_head().size:
            self._start_anew()
        while self.cursor < self.app.current_head().size:
            with paused():
                folded = self._fold_page()
            if not folded:  # somebody else did, or the log lacks its end
                break
            done += folded
            if progress:
                progress(done)
        return done

    def _start_anew(self) -> None:
        with self.db:
            self.db.execute("BEGIN IMMEDIATE")
            self.db.execute("DELETE FROM people")
            self.db.execute("DELETE FROM judged")
            self.db.execute("UPDATE cursor SET next=0")

    def _fold_page(self) -> int:
        """Fold and save the next page. Returns its entries. Others who fold into the same file wait, or were first."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            cursor = self.cursor
            if cursor != self._folded:
                self._rows.clear()
            entries = self._page(cursor)
            following = entries[-1].position + 1 if entries else cursor
            touched = self._fold(entries)
            rows = [
                (person, r.controller, r.state.entries, r.last_time, r.last_recorded, r.linked, dump(r.state))
                for person, r in touched.items()
            ]
            self.db.executemany("INSERT OR REPLACE INTO people VALUES (?,?,?,?,?,?,?)", rows)
            self.db.execute("UPDATE cursor SET next=?", [following])
            points.reached("projection written")
            self.db.execute("COMMIT")
        except BaseException:
            self._rows.clear()
            self.db.rollback()
            raise
        points.reached("projection committed")
        self._folded = following
        self._rows.update(touched)
        if len(self._rows) > KEPT:
            self._rows.clear()
        return len(entries)

    def _page(self, start: int) -> list[Entry]:
        with self.app.reading() as c:
            c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, PAGE])
            page = c.fetchall()
        return [decode(position, state) for position, state in page]

    def _fold(self, entries: list[Entry]) -> dict[str, Row]:
        touched: dict[str, Row] = {}
        for entry in entries:
            if entry.stream.startswith("controller:"):
                continue
            person = entry.stream
            row = touched.get(person) or self._row(entry)
            touched[person] = row
            if row.late or (entry.time, entry.position) < row.state.last:
                row.late = True
            else:
                evolve(row.state, entry)
            row.last_time = max(row.last_time, entry.time)
            row.last_recorded = entry.recorded_at
            row.linked |= entry.type in ("subject.linked", "subject.unlinked")
        for person, row in touched.items():
            if row.late:
                row.state, row.late = self._refold(person, entries[-1].position), False
        return touched

    def _row(self, entry: Entry) -> Row:
        row = self._rows.get(entry.stream)
        if row is None:
            found = self.db.execute(
                "SELECT controller, last_time, last_recorded, linked, snapshot FROM people WHERE person=?",
                [entry.stream],
            ).fetchone()
            if found is None:
                return Row(entry.controller, -(2**62), 0, linked=False, state=new_state([entry.stream]))
            row = Row(found[0], found[1], found[2], bool(found[3]), load(found[4]))
        return row

    def _refold(self, person: str, until: int) -> State:
        with self.app.reading() as c:
            c.execute("SELECT position, state FROM entries WHERE stream=? AND position<=?", [person, until])
            return fold([decode(position, state) for position, state in c.fetchall()], [person])

    # -- reading -------------------------------------------------------------------------------------------------------

    def person(self, person: str) -> Row | None:
        """A person's row, if the projection has seen them."""
        found = self.db.execute(
            "SELECT controller, last_time, last_recorded, linked, snapshot FROM people WHERE person=?", [person]
        ).fetchone()
        return Row(found[0], found[1], found[2], bool(found[3]), load(found[4])) if found else None

    def persons(self, controller: str) -> list[str]:
        """The persons of a controller, in order of their identifiers."""
        found = self.db.execute("SELECT person FROM people WHERE controller=? ORDER BY person", [controller])
        return [row[0] for row in found.fetchall()]

    def judged(
        self, person: str, entries: int, about: int
    ) -> tuple[list[dict[str, Any]], dict[int, str | None]] | None:
        """(findings, clause by position of a disclosure) as saved for exactly so many entries, or None."""
        row = self.db.execute(
            "SELECT findings, permitted_by FROM judged WHERE person=? AND entries=? AND about=?",
            [person, entries, about],
        ).fetchone()
        return (orjson.loads(row[0]), dict(orjson.loads(row[1]))) if row else None

    def save_judged(
        self,
        person: str,
        entries: int,
        about: int,
        findings: list[dict[str, Any]],
        permitted_by: dict[int, str | None],
    ) -> None:
        """Save what was judged. It is computed from the log alone: losing it loses nothing."""
        row = [person, entries, about, orjson.dumps(findings), orjson.dumps(list(permitted_by.items()))]
        self.db.execute("INSERT OR REPLACE INTO judged VALUES (?,?,?,?,?)", row)

    def saving(self) -> sqlite3.Connection:
        """A transaction over many `save_judged`: use it as a context manager."""
        self.db.execute("BEGIN IMMEDIATE")
        return self.db

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        rows = self.db.execute("SELECT person, entries, snapshot FROM people ORDER BY person")
        for person, entries, snapshot in rows:
            yield person, b"%d %s" % (entries, snapshot)


def rebuild(
    app: LedgerApplication, path: Path, progress: Callable[[int], None] | None = None
) -> tuple[int, list[Difference]]:
    """Fold everything anew into a new file, compare it with the old one, and put it in its place.

    Returns (entries folded, persons that differ). The old file stays until the new one is whole.
    """
    old = Projector(app, path)
    old.catch_up()
    fresh_path = path.with_name(path.name + ".rebuilding")
    for suffix in ("", "-wal", "-shm"):
        fresh_path.with_name(fresh_path.name + suffix).unlink(missing_ok=True)
    fresh = Projector(app, fresh_path)
    folded = fresh.catch_up(progress)
    differences = list(_compare(old, fresh))
    old.close()
    fresh.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fresh.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    points.reached("before swap")
    fresh_path.replace(path)
    points.reached("after swap")
    return folded, differences


def _compare(old: Projector, fresh: Projector) -> Iterator[Difference]:
    before, after = dict(old._contents()), dict(fresh._contents())  # noqa: SLF001  same class
    for person in sorted(before.keys() | after.keys()):
        if person not in before:
            yield Difference(person, "was missing")
        elif person not in after:
            yield Difference(person, "is not in the log")
        elif before[person] != after[person]:
            yield Difference(person, "state differs")
