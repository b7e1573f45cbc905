"""eventsourcing's mapper, ours: exact bytes instead of pickled state, a closed registry instead of import paths."""

from __future__ import annotations

from typing import Any, NamedTuple

from eventsourcing.persistence import JSONTranscoder, Mapper, Notification, StoredEvent

from consent_ledger.ledger.errors import CorruptEntry, InvalidEvent
from consent_ledger.ledger.log.entry import LIMIT_BYTES, Entry, decode


class Draft(NamedTuple):
    """An entry about to be appended: its stream, version, type and exact bytes."""

    originator_id: str
    originator_version: int
    type: str
    raw: bytes


class EntryMapper(Mapper[str]):
    """Between drafts or entries and stored events. Nothing in the store is ever resolved to an import path."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The stored event of a draft. Raises InvalidEvent for one over the limit."""
        if len(domain_event.raw) > LIMIT_BYTES:
            raise InvalidEvent(
                "data", f"the entry would have {len(domain_event.raw)} bytes, the limit is {LIMIT_BYTES}"
            )
        return StoredEvent(
            domain_event.originator_id, domain_event.originator_version, domain_event.type, domain_event.raw
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Entry:
        """The entry of a stored event, validated again on its way out. Raises CorruptEntry."""
        position = stored_event.id - 1 if isinstance(stored_event, Notification) else -1
        entry = decode(position, stored_event.state)
        if (entry.stream, entry.version) != (stored_event.originator_id, stored_event.originator_version):
            raise CorruptEntry(f"entry {position} says it is another one: restore the store from a backup")
        return entry
