"""A ledger for those who know eventsourcing: its Application, recorder and notification log over any store.

    >>> log = LedgerEvents(ledger.app.store)
    >>> log.notification_log.select(start=1, limit=10)     # entries as notifications; their ids are position + 1
    >>> log.mapper.to_domain_event(notification)           # the entry

It reads. What is recorded goes through `ledger.intake`: there is no other way in, and `save` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from eventsourcing.application import Application
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    JSONTranscoder,
    Mapper,
    Notification,
    NotSupportedError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)
from eventsourcing.utils import Environment

from consent_ledger.ledger.errors import CorruptEntry
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.store.contract import Store
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.store.tables.head import read_head

_READ_ONLY = "a ledger is written through record, which validates, refuses, seals and signs"


class EntryMapper(Mapper[str]):
    """From stored events to entries. Nothing in the store is ever resolved to an import path."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: Any) -> NoReturn:  # noqa: ARG002  the interface's
        """Raises NotSupportedError: entries are made by intake alone."""
        raise NotSupportedError(_READ_ONLY)

    def to_domain_event(self, stored_event: StoredEvent) -> Entry:
        """The entry of a stored event, validated again on its way out. Raises CorruptEntry."""
        position = stored_event.id - 1 if isinstance(stored_event, Notification) else -1
        entry = decode(position, stored_event.state)
        if (entry.stream, entry.version) != (stored_event.originator_id, stored_event.originator_version):
            raise CorruptEntry(f"entry {position} says it is another one: restore the store from a backup")
        return entry


class EntryRecorder(ApplicationRecorder):
    """Entries as the library's stored events and notifications. A notification's id is its position + 1."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> NoReturn:  # noqa: ARG002
        """Raises NotSupportedError: nothing is written past intake."""
        raise NotSupportedError(_READ_ONLY)

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[Notification]:
        """A stream's entries as notifications, which carry the position."""
        with self._store.reading() as moment, moment.cursor() as c:
            upto = entries.NO_LIMIT if lte is None else lte
            most = entries.NO_LIMIT if limit is None else limit
            found = entries.notices_of(c, str(originator_id), gt or 0, upto, most, desc=desc)
        return [_notification(row) for row in found]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Entries in the order of the log."""
        first = 0 if start is None else start - 1 + (not inclusive_of_start)
        end = entries.NO_LIMIT if stop is None else stop
        with self._store.reading() as moment, moment.cursor() as c:
            found = entries.notices(c, first, end, topics, limit)
        return [_notification(row) for row in found]

    def max_notification_id(self) -> int | None:
        """The size of the log, None for an empty one."""
        with self._store.reading() as moment, moment.cursor() as c:
            return read_head(c).size or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:  # noqa: ARG002
        """Raises NotSupportedError: read pages from a cursor instead."""
        raise NotSupportedError("read pages of the notification log from a cursor instead")


def _notification(row: entries.Notice) -> Notification:
    position, stream, version, type_name, state = row
    return Notification(id=position + 1, originator_id=stream, originator_version=version, topic=type_name, state=state)


class _Factory(InfrastructureFactory[Any]):
    """Gives the library the one recorder that there is."""

    def __init__(self, env: Environment, store: Store) -> None:
        super().__init__(env)
        self._store = store

    def application_recorder(self) -> ApplicationRecorder:
        return EntryRecorder(self._store)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:  # noqa: ARG002
        return EntryRecorder(self._store)

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> TrackingRecorder:  # noqa: ARG002
        raise NotSupportedError(_READ_ONLY)

    def process_recorder(self) -> ProcessRecorder:
        raise NotSupportedError(_READ_ONLY)


class LedgerEvents(Application[str]):
    """A ledger's entries as an application of the library's. Close the ledger, not this."""

    name = "ledger"

    def __init__(self, store: Store) -> None:
        self._store = store
        super().__init__()

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """The factory over the store."""
        return _Factory(env, self._store)

    def construct_mapper(self) -> EntryMapper:
        """The mapper from stored events to entries."""
        return EntryMapper()
