"""Real deletion beside an immutable log.

Two steps, as statements promise them. `deletion.completed` destroys the person's sealed fields and data key (under a
hold, at the last release); names still lead to the history, so that the person can be answered. `erase` removes the
names too and appends the fact: from then on the log proves what happened and when, no longer to whom. What the person
opted out of outlives both: see `ledger.intake.suppression`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import HoldStanding, InvalidQuestion
from consent_ledger.ledger.intake import traces as tr
from consent_ledger.ledger.intake.addresses import forget
from consent_ledger.ledger.intake.batch import Batch
from consent_ledger.ledger.intake.destroy import as_kept, destroy, doomed_of, journalled, outliving
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.persons import (
    connected,
    effective_deletions,
    is_identifier,
    standing_holds,
    stream_entries,
)
from consent_ledger.ledger.intake.scrub import note_unscrubbed, scrub
from consent_ledger.ledger.intake.staying import note_uncarried, record_uncarried, stays_bound
from consent_ledger.ledger.intake.suppression import keep, take_addresses
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import meta, people
from consent_ledger.ledger.times import FOREVER
from consent_ledger.ledger.vault.keys import Outlived

METHOD: Final = "keys-and-names-destroyed"
RECENT: Final = 64  # of the newest erasures some may have been cut short: as many as there can be writers
_UNRECORDED: Final = "unrecorded:"


def delete_again(app: Opened, persons: set[str], until: int, suppressed: Iterable[Outlived]) -> list[bytes]:
    """Destroy again what a deletion destroyed after a backup was made. Returns the bytes that must be gone."""
    with app.writing() as c:
        app.refresh(c)
        entries = [entry for entry in stream_entries(c, persons) if entry.role == "controller"]
        if until not in (time for time, _ in effective_deletions(entries)):  # else the copy knows, and what came since
            keep(c, as_kept(suppressed))
        doomed = doomed_of(app, c, persons, until=(until, FOREVER))
        destroy(app, c, doomed)
        note_unscrubbed(c, doomed.bytes)
    return doomed.bytes


def suppress_again(app: Opened) -> None:
    """Take over what outlived those who were erased after a backup was made."""
    with app.writing() as c:
        keep(c, as_kept(app.keys.outlived()))


class Erased(NamedTuple):
    """What an erasure did. `positions`: of the entries that say so, none for who was never in one."""

    positions: list[int]
    letters: int  # dead letters that were destroyed
    refused: int  # refused events whose names and digests were destroyed


def erase(app: Opened, controller: str, name: str, now: int) -> Erased:
    """Erase whoever a name or identifier leads to: joined names, fields, keys, digests, letters, refused events.

    Also somebody who was only ever named: in entries about others, in refused events, in dead letters. Raises
    InvalidQuestion for a name of nobody, and for who is erased already; HoldStanding while a hold stands. Nothing is
    half done: the journal of erasures is written first, the rest is one transaction.
    """
    person = app.person(controller, name)
    if person is None and is_identifier(name):
        person = _identified(app, controller, name)
    erased = erase_persons(app, {person} if person else set(), now, journal=True, named=[(controller, name)])
    if person is None and not erased.letters and not erased.refused:
        raise InvalidQuestion("subject", f"no person {name!r} is known to {controller!r}")
    return erased


def _identified(app: Opened, controller: str, person: str) -> str | None:
    """The person of that identifier, if there is one. Raises InvalidQuestion for one who is erased."""
    with app.reading() as c:
        entries = stream_entries(c, [person]) or tr.mentioning(c, person)
        if not entries or entries[0].controller != controller:
            return None
        if not people.has_names(c, person):
            raise InvalidQuestion("subject", f"{person!r} is erased already")
    return person


def erase_persons(
    app: Opened, persons: set[str], now: int, *, journal: bool, named: Sequence[tuple[str, str]] = ()
) -> Erased:
    """Erase by identifier (see `erase`). `journal` False: again, in an older copy, whatever stood when it was made.

    `named`: (controller, name) that letters and refused events are searched for besides the names on record.
    """
    read = _read_before(app, persons, named)
    with app._lock:  # noqa: SLF001  one writer in this process
        with app.writing() as c:
            persons = {person for person in persons if people.has_names(c, person)}  # others may have been first
            group = {name for person in persons for name in connected(c, person)}
            entries = stream_entries(c, group, ("hold.placed", "hold.released"))
            holds = standing_holds(entry for entry in entries if entry.role == "controller")
            if holds and journal:
                raise HoldStanding(holds[0])
            batch = Batch(app, c)
            batch.clock(now)
            sought = tr.sought_for(app, c, group, named)
            traces = _traces(app, c, group, sought, read)
            doomed = doomed_of(app, c, group, until=None)
            destroy(app, c, doomed)
            staying = stays_bound(app, c, group, batch.recorded_at)
            keys, tags = take_addresses(c, app.vault, sorted(group))
            kept = outliving(app, c, group, {"": keys})
            if journal and (group or traces.handles):  # a process that dies behind this leaves it to finish_erasures
                app.keys.note_erasure(sorted(group), "erase", None, journalled(kept), traces.journalled())
            crashpoints.reached("erasure noted")
            alone = _mentioned_by(c, group)
            appended = []
            if journal:
                appended = [batch.append_erased(name, METHOD, alone) for name in sorted(group)]
                batch.append_carried(staying)
            else:
                _note_unrecorded(c, sorted(group), alone)
                note_uncarried(c, staying)
            if journal:
                # as it is noted, with what an attempt that was cut short has noted; a copy takes over all of it later
                keep(c, as_kept(one for one in app.keys.outlived() if bytes.fromhex(one[0]) in keys))
            gone = doomed.bytes + tags + _forget(app, c, group, sought.aliases, traces)
            note_unscrubbed(c, gone)
            batch.destroyed += gone
            batch.finish()
            crashpoints.reached("before erasure commit")
        crashpoints.reached("after erasure commit")
        batch.committed()
    positions = [position for position in appended if position >= 0]  # none for a name that was only ever mentioned
    return Erased(positions, len(traces.letters), len(traces.refused))


def finish_erasures(app: Opened, now: int) -> None:
    """Finish an erasure that was noted beside the keys and went no further, because the process died there."""
    if app.how != "rw":
        return
    if app.keys.note_waits():
        with app.keys.turn():
            app.keys.finish_note()
    newest = [row for row in app.keys.erasures() if row["kind"] == "erase"][-RECENT:]
    with app.reading() as c:
        persons = {person for row in newest for person in row["persons"] if people.has_names(c, person)}
    if persons:
        erase_persons(app, persons, now, journal=True)


def _mentioned_by(c: Transaction, group: set[str]) -> str | None:
    """The controller of somebody who was only ever mentioned, and by whose erasure no other entry would say so."""
    found = tr.mentioning(c, min(group)) if len(group) == 1 else []
    return found[0].controller if found else None


@dataclass(slots=True)
class _Read:
    """What letters were read for before the write lock was taken, which ones said it, and the last one read."""

    texts: set[str]
    letters: set[int]
    last: int


def _read_before(app: Opened, persons: set[str], named: Sequence[tuple[str, str]]) -> _Read:
    with app.reading() as c:
        group = {name for person in persons for name in connected(c, person)}
        texts = tr.sought_for(app, c, group, named).texts()

    def page(after: int) -> tr.Page:
        with app.reading() as c:  # each by itself: a long read would keep the write-ahead log from being truncated
            return tr.letters_after(c, after)

    return _Read(texts, *tr.read_letters(app.vault, texts, 0, page))


def _traces(app: Opened, c: Transaction, group: set[str], sought: tr.Sought, read: _Read) -> tr.Traces:
    """All traces, with the letters that came since they were read, and those that say what is known only since."""
    traces = tr.traces_of(app, c, group, sought)
    texts = sought.texts()

    def page(after: int) -> tr.Page:
        return tr.letters_after(c, after)

    traces.letters |= read.letters | tr.read_letters(app.vault, texts, read.last, page)[0]
    if texts - read.texts:
        traces.letters |= tr.read_letters(app.vault, texts - read.texts, 0, page)[0]
    tr.note_handles(c, app.vault, traces)
    return traces


def _forget(app: Opened, c: Transaction, group: set[str], aliases: set[bytes], traces: tr.Traces) -> list[bytes]:
    """Remove names, content digests and letters of erased persons. Returns the bytes that must be gone."""
    gone = tr.remove(app, c, group, aliases, traces) + forget(c, sorted(group))
    for name in sorted(group):
        gone += [one for _, *row in people.names_of(c, name) for one in row if one is not None]
        for entry in stream_entries(c, [name]):
            gone += tr.forget_digest(c, app.vault, entry)
        app.vault.forget_names(c, name)
        app.ends.pop(name, None)
    for alias in aliases:
        app.persons.pop(alias, None)
    return gone


def forget_again(app: Opened, handles: set[bytes]) -> list[bytes]:
    """Destroy in an older copy the letters and refused events that were destroyed with somebody since.

    Returns the bytes that must be gone.
    """
    with app.writing() as c:
        traces = tr.handled_again(c, app.vault, handles)
        gone = tr.remove(app, c, set(), tr.aliases_of(c, traces.refused), traces)
        note_unscrubbed(c, gone)
    return gone


def destroy_again(app: Opened) -> int:
    """Destroy in an older copy all that the journal beside the keys says was destroyed. Returns how many persons.

    Nothing is signed by it: who was erased again is an entry as soon as the copy is a store that signs. Requires that
    the application has it as a copy. Raises as `scrub` does, when all of it is destroyed.
    """
    assert app.how == "copy"
    recorded_at = app.current_head().recorded_at
    journal = app.keys.erasures()
    gone = forget_again(app, {bytes.fromhex(one) for row in journal for one in row.get("traces", ())})
    persons = {str(one) for row in journal if row["kind"] == "erase" for one in row["persons"]}
    again = {person for person in persons if app.known_names(person)}
    if again:
        erase_persons(app, again, recorded_at, journal=False)
    for row in journal:
        if row["kind"] == "deletion":
            gone += delete_again(app, set(row["persons"]), row["until"], row.get("suppressed", ()))
    suppress_again(app)
    scrub(app, gone)
    return len(again)


def _note_unrecorded(c: Transaction, persons: list[str], controller: str | None) -> None:
    """Note who was erased again in a copy: that is an entry as soon as the copy is a store that signs."""
    rows = [(_UNRECORDED + person, (controller or "").encode()) for person in persons]
    meta.note(c, rows)


def record_erasures(batch: Batch) -> int:
    """Append what `_note_unrecorded` noted. Returns how many persons."""
    noted = meta.take(batch.c, _UNRECORDED)
    for name, controller in noted:
        batch.append_erased(name.removeprefix(_UNRECORDED), METHOD, controller.decode() or None)
    batch.append_carried(record_uncarried(batch.c))
    return len(noted)
