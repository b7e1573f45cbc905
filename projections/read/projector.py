"""The projection at rest: the state of every person, in a file of its own beside the store or in its server's schema.

It can be deleted at any time and is rebuilt from the log alone. Pages of entries are folded, and their rows
saved together with the cursor and the log's root there, in one transaction: whatever happens, each entry counts exactly
once, and a projection that belongs to another log is noticed.

A row carries the leaf hash of the person's last entry that is in it, `tip`. Each entry names the leaf hash of the one
before it, so that the tip says all of the person's entries: a row is used where its tip is that of the log that the
answer sees, whoever has folded further since. A tag under a key of the vault binds the row to its person.

Any thread may use a projector. Nobody who reads waits for a page.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import NewerEntry, StoreBusy, StoreReadOnly
from consent_ledger.ledger.events.catalogue import SCHEMA_VERSION, TYPES
from consent_ledger.ledger.gcpause import paused
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry, controller_of, decode
from consent_ledger.ledger.log.entry import FORMAT as ENTRY_FORMAT
from consent_ledger.ledger.log.merkle import root_at
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.store.tables.head import Head, read_head, readers
from consent_ledger.projections.fold.record import State, new_state
from consent_ledger.projections.fold.state import evolve, fold
from consent_ledger.projections.read.snapshot import FORMAT, dump, load
from consent_ledger.projections.store.contract import ProjectionStore
from consent_ledger.projections.store.opened import Place, open_projections

# Rows are written anew by a program that folds otherwise, or reads entries that another one could not.
SCHEMA_FORMAT: Final = crc32(repr((502, FORMAT, ENTRY_FORMAT, SCHEMA_VERSION, sorted(TYPES))).encode()) & 0x7FFFFFFF
PAGE: Final = 20_000
KEPT: Final = 50_000  # states remembered between pages
SAVED: Final = 1_000  # judgements gathered before they are written


@dataclass(slots=True)
class Row:
    """One person in the projection."""

    controller: str
    last_time: int
    last_recorded: int
    linked: bool
    state: State | None  # None: something of theirs was written by a newer program
    tip: bytes = b""  # leaf hash of the last entry that is in it
    late: bool = False  # news came late: to be folded again at the end of the page


class Listed(NamedTuple):
    """An entry as it is folded; `entry` None: a newer program wrote it."""

    position: int
    stream: str
    leaf: bytes
    entry: Entry | None
    controller: str


class Damage(NamedTuple):
    """What is not as this program wrote it; `person` "all": the file as a whole."""

    person: str
    what: str


Judged = tuple[list[dict[str, Any]], dict[int, str | None]]
"""(findings, clause by position of a disclosure)."""

Save = Callable[[str, bytes, bytes, Judged], None]
"""Saves a judgement: person, leaf hashes of their last entry and of the last about the controller, what was judged."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A person whose rebuilt row is not the old one."""

    person: str
    what: str


class Projector:
    """Keeps the projections of one store. `place` None: in memory.

    `why_in_memory`: why they are that although a place was given.
    """

    def __init__(self, app: LedgerApplication, place: Place, store: ProjectionStore | None = None) -> None:
        self.app = app
        self.place = place
        self.path = place if isinstance(place, Path) else None
        self._in_memory = app.store.in_memory
        self._folding = threading.RLock()  # one in this process catches up, the others find it done
        self._rows: dict[str, Row] = {}
        self._folded = 0  # the cursor that `_rows` belong to: another process may have moved it
        self.why_in_memory: str | None = None
        if store is None:
            store, self.why_in_memory = open_projections(place, SCHEMA_FORMAT, app.check_process)
        self.store = store

    def close(self) -> None:
        """Let go of them."""
        self.store.close()

    @property
    def cursor(self) -> int:
        """The next position to fold."""
        return self.store.cursor()[0]

    # -- folding -------------------------------------------------------------------------------------------------------

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Fold what is new, inside an answer up to what that sees. Returns the number of entries folded.

        Starts anew where the log is another one. Where another process folds and does not get on, it is left to that:
        answers are folded from the log then.
        """
        self.app.check_process()  # before a lock that another thread of a parent had when this child was forked
        done = 0
        # in memory whoever waits for the one that folds reads already: that one must not wait for a writer, who waits
        # for all that read
        with self.app.reading() if self._in_memory else nullcontext(), self._folding:
            while True:
                before = self.store.cursor()
                if self._is_done(before):
                    return done
                try:
                    with paused():
                        folded = self._fold_page()
                except StoreBusy:
                    if self.store.cursor() == before:
                        return done
                    continue
                done += folded
                if progress and folded:
                    progress(done)
                if not folded and self.store.cursor() == before:  # the log lacks its end
                    return done

    def _is_done(self, cursor: tuple[int, bytes]) -> bool:
        with self.app.reading() as c:
            head = read_head(c)
            return cursor == (head.size, head.root) or (cursor[0] >= head.size and self._fits(c, head, *cursor))

    def _fits(self, c: Transaction, head: Head, size: int, root: bytes) -> bool:
        """Whether the log has that root at that size. It may be longer than what an answer sees of it."""
        if size <= head.size:
            return root == (head.root if size == head.size else root_at(size, *readers(c)))
        if self._in_memory:
            return True  # nobody can put another log there
        with self.app.reading_newest() as newest:
            return size <= read_head(newest).size and root == root_at(size, *readers(newest))

    def _fold_page(self) -> int:
        """Fold and save the next page. Returns its entries. Others who fold into the same one wait, or were first."""
        try:
            with self.store.transaction(), self.app.reading() as c:
                anew = self.store.require_kind()
                cursor, root = self.store.cursor_inside()
                head = read_head(c)
                if not self._fits(c, head, cursor, root):
                    self.store.start_anew()
                    anew, cursor = True, 0
                elif cursor > head.size:
                    return 0  # another process has folded more than is seen here
                if anew or cursor != self._folded:
                    self._rows.clear()
                entries = _page(c, cursor, head.size)
                following = entries[-1].position + 1 if entries else cursor
                touched = self._fold(entries)
                saved = [self._saved(person, row) for person, row in touched.items()]
                root = head.root if following == head.size else root_at(following, *readers(c))
                self.store.save_page(saved, following, root)
                crashpoints.reached("projection written")
        except BaseException:
            self._rows.clear()
            raise
        crashpoints.reached("projection committed")
        self._folded = following
        self._rows.update(touched)
        if len(self._rows) > KEPT:
            self._rows.clear()
        return len(entries)

    def _fold(self, entries: Sequence[Listed]) -> dict[str, Row]:
        touched: dict[str, Row] = {}
        for listed in entries:
            person, entry = listed.stream, listed.entry
            if person.startswith(CONTROLLER_PREFIX):
                continue
            row = touched.get(person) or self._row(listed)
            touched[person] = row
            row.tip = listed.leaf
            if entry is None:
                row.state = None
            if entry is None or row.state is None:
                continue
            if row.late or (entry.time, entry.position) < row.state.last:
                row.late = True
            else:
                evolve(row.state, entry)
            row.last_time = max(row.last_time, entry.time)
            row.last_recorded = entry.recorded_at
            row.linked |= entry.type in ("subject.linked", "subject.unlinked")
        for person, row in touched.items():
            if row.late and row.state is not None:
                row.state, row.late = self._refold(person, entries[-1].position), False
        return touched

    def _row(self, listed: Listed) -> Row:
        row = self._rows.get(listed.stream)
        if row is None:
            found = self.store.person_inside(listed.stream)
            if found is None:
                return Row(listed.controller, -(2**62), 0, linked=False, state=new_state([listed.stream]))
            row = self._loaded(found)
            if row is None:  # altered: nothing is built on it
                row = self._row_from_log(listed)
        return row

    def _row_from_log(self, listed: Listed) -> Row:
        """The person's row before an entry, of the log alone."""
        earlier = self._entries(listed.stream, listed.position - 1)
        if earlier is None:
            return Row(listed.controller, -(2**62), 0, linked=False, state=None)
        return Row(
            listed.controller,
            max((entry.time for entry in earlier), default=-(2**62)),
            max((entry.recorded_at for entry in earlier), default=0),
            linked=any(entry.type in ("subject.linked", "subject.unlinked") for entry in earlier),
            state=fold(earlier, [listed.stream]),
        )

    def _refold(self, person: str, until: int) -> State | None:
        entries = self._entries(person, until)
        return None if entries is None else fold(entries, [person])

    def _entries(self, person: str, until: int) -> list[Entry] | None:
        """The person's entries up to a position; None where a newer program wrote one."""
        with self.app.reading() as c:
            found = entries.of_stream_before(c, person, until + 1)
        try:
            return [decode(position, state) for position, state in found]
        except NewerEntry:
            return None

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _tag(self, kind: bytes, row: Sequence[Any]) -> bytes:
        return self.app.vault.bound(b"projection %d " % SCHEMA_FORMAT + kind, *(_bytes(value) for value in row))

    def _saved(self, person: str, row: Row) -> tuple[Any, ...]:
        entries, snapshot = (row.state.entries, dump(row.state)) if row.state is not None else (0, b"")
        fields = person, row.controller, entries, row.last_time, row.last_recorded, int(row.linked), row.tip, snapshot
        return *fields, self._tag(b"people", fields)

    def _loaded(self, found: Sequence[Any]) -> Row | None:
        """The row, or None where it is not as it was written."""
        *fields, tag = found
        if self._tag(b"people", fields) != tag:
            return None
        _, controller, _, last_time, last_recorded, linked, tip, snapshot = fields
        return Row(controller, last_time, last_recorded, bool(linked), load(snapshot) if snapshot else None, tip)

    def person(self, person: str) -> Row | None:
        """A person's row, if the projection has seen them, nobody altered it, and all of it can be read."""
        found = self.store.person(person)
        row = self._loaded(found) if found else None
        return row if row is not None and row.state is not None else None

    def persons(self, controller: str) -> list[str]:
        """The persons of a controller that are projected, in order of their identifiers."""
        return self.store.persons(controller)[2]

    def everybody(self, controller: str) -> list[str]:
        """Everybody who may be of a controller, by what this answer sees, in order; catches up before that.

        Nobody is left out, whatever other threads and processes fold meanwhile; some may be of another controller.
        """
        self.catch_up()
        cursor, root, persons = self.store.persons(controller)  # those of nobody's too, of whom a newer program wrote
        with self.app.reading() as c:
            head = read_head(c)
            if not self._fits(c, head, cursor, root):
                cursor, persons = 0, []
            since = {one for one in entries.streams_since(c, cursor) if not one.startswith(CONTROLLER_PREFIX)}
            if cursor > head.size:
                persons = [one for one in persons if entries.has_stream(c, one)]
        return sorted(since.union(persons))

    # -- what was judged -----------------------------------------------------------------------------------------------

    def judged(self, person: str, tip: bytes, about: bytes) -> Judged | None:
        """What was saved for exactly these last entries of the person and about the controller, or None."""
        found = self.store.judged(person, tip, about)
        if found is None or self._tag(b"judged", found[:-1]) != found[-1]:
            return None
        return orjson.loads(found[3]), dict(orjson.loads(found[4]))

    @contextmanager
    def saving(self) -> Iterator[Save]:
        """Gives what saves a judgement. It is computed from the log alone: losing it loses nothing."""
        gathered: list[tuple[Any, ...]] = []

        def save(person: str, tip: bytes, about: bytes, judged: Judged) -> None:
            findings, permitted_by = judged
            fields = person, tip, about, orjson.dumps(findings), orjson.dumps(list(permitted_by.items()))
            gathered.append((*fields, self._tag(b"judged", fields)))
            if len(gathered) >= SAVED:
                self._save(gathered)

        yield save
        self._save(gathered)

    def _save(self, gathered: list[tuple[Any, ...]]) -> None:
        if gathered:
            with suppress(StoreBusy), self.store.transaction():  # another process folds: it is judged again
                self.store.save_judged(gathered)
            gathered.clear()

    # -- looking at all of it ------------------------------------------------------------------------------------------

    def damaged(self) -> list[Damage]:
        """Every row that is not as it was written, or not of this log. Reads all of them, one at a time."""
        damage = []
        cursor, root = self.store.cursor()
        with self.app.reading() as c:
            if not self._fits(c, read_head(c), cursor, root):
                damage.append(Damage("all", f"folded up to entry {cursor} of another log (run rebuild)"))
        for table, pages, tip in (
            ("people", self.store.pages("people"), 6),
            ("judged", self.store.pages("judged"), 1),
        ):
            for rows in pages:
                with self.app.reading() as c:  # after the rows: the log has all that they were folded from
                    for *fields, tag in rows:
                        if self._tag(table.encode(), fields) != tag:
                            damage.append(Damage(str(fields[0]), f"the row in {table} was altered (run rebuild)"))
                        elif not entries.has_leaf(c, fields[0], fields[tip]):
                            damage.append(Damage(fields[0], f"the row in {table} is of another log (run rebuild)"))
        return damage

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        for page in self.store.snapshots():
            for person, number, snapshot in page:
                yield person, b"%d %s" % (number, snapshot)


def _page(c: Transaction, start: int, size: int) -> list[Listed]:
    """The next entries of a log of that size. Of what lies behind, which only damage puts there, nothing is folded."""
    page = []
    for position, stream, leaf, state in entries.leaf_page(c, start, size, PAGE):
        try:
            entry = decode(position, state)
        except NewerEntry:
            page.append(Listed(position, stream, leaf, None, controller_of(state)))
        else:
            page.append(Listed(position, stream, leaf, entry, entry.controller))
    return page


def _bytes(value: Any) -> bytes:
    """A column's value for a tag: other kinds of value, other bytes."""
    if isinstance(value, bytes):
        return b"b" + value
    return (b"i%d" % value) if isinstance(value, int) else b"t" + str(value).encode()


def rebuild(
    app: LedgerApplication, place: Place, progress: Callable[[int], None] | None = None
) -> tuple[int, list[Difference]]:
    """Fold everything anew beside the old rows, compare with them, and put the new ones in their place.

    Returns (entries folded, persons that differ). That is one transaction on what is there: others may have it open,
    fold into it and write to the log meanwhile. Until then the old rows stay. Requires a place that is no memory.
    Raises StoreReadOnly where there may be none.
    """
    old = Projector(app, place)
    if old.why_in_memory is not None:
        raise StoreReadOnly(old.why_in_memory)
    try:
        fresh = Projector(app, place, old.store.beside())
    except BaseException:
        old.close()
        raise
    try:
        folded = fresh.catch_up(progress)
        while (differences := _exchange(app, old, fresh)) is None:
            pass  # somebody else folded more than was seen here: once more
    finally:
        old.close()
        fresh.close()
        old.store.remove_beside()
    return folded, differences


def _exchange(app: LedgerApplication, old: Projector, fresh: Projector) -> list[Difference] | None:
    """Compare the rows of one moment and exchange them, or None where the old ones are of a later one."""
    with app.reading_newest():  # both fold up to this moment
        fresh.catch_up()
        old.catch_up()
        with old.store.transaction():  # nobody folds meanwhile
            if old.cursor != fresh.cursor:
                return None
            differences = list(_compare(old, fresh))
            old.store.take_over()
            crashpoints.reached("before swap")
        crashpoints.reached("after swap")
    return differences


def _compare(old: Projector, fresh: Projector) -> Iterator[Difference]:
    before, after = dict(old._contents()), dict(fresh._contents())  # noqa: SLF001  same class
    for person in sorted(before.keys() | after.keys()):
        if person not in before:
            yield Difference(person, "was missing")
        elif person not in after:
            yield Difference(person, "is not in the log")
        elif before[person] != after[person]:
            yield Difference(person, "state differs")
