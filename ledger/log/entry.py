r"""The entry: what the log keeps of an event, for ever, as exact bytes.

Format 1, one JSON object without white space, fields in this order, absent ones left out:

    {"v":1,"type":"consent.granted","dataschema":1,"controller":"parature",
     "person":"01a2…32 hex","version":3,"prev":"<base64 leaf hash of the person's previous entry>",
     "source":"urn:app:signup","id":"9f1c","time":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:06Z",
     "actor":"subject","role":"processor","of":"acme",
     "data":{"purpose":"newsletter","list":"product-news","basis":"express"},
     "personal":{"email":"<base64 commitment>"}}

An entry about a controller has `"stream":"controller:parature"` in place of `person`. No byte of it can identify
anybody: `person` is random, personal fields are salted commitments. Positions are not in it: the Merkle tree says them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from consent_ledger.ledger.errors import CorruptEntry, InvalidEvent, NewerEntry
from consent_ledger.ledger.events.catalogue import SCHEMA_VERSION, TYPES, Data, validate
from consent_ledger.ledger.events.closing import closes
from consent_ledger.ledger.times import parse_stored, parse_stored_again

FORMAT: Final = 1
LIMIT_BYTES: Final = 65_535  # an entry bundle gives each entry a length of two bytes (C2SP tlog-tiles)
CONTROLLER_PREFIX: Final = "controller:"

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
# (type, version) -> the data of the next version. Stored entries are never rewritten: they are read through these.
UPCASTS: Final[dict[tuple[str, int], Upcast]] = {}


class Entry(NamedTuple):
    """One entry as it is read: `time` and `recorded_at` in microseconds, `data` a validated model.

    `time` is since when it is in force.

    A tuple, because making one costs a fifth of what a frozen dataclass costs, and a rebuild makes millions.
    """

    position: int
    stream: str  # the person's identifier, or controller:NAME
    version: int
    type: str
    controller: str
    source: str
    id: str
    time: int
    recorded_at: int
    data: Data
    personal: dict[str, str]  # field name -> base64 commitment
    role: str = "controller"
    of: str | None = None
    actor: str | None = None
    prev: str | None = None
    claimed: int | None = None  # when it says it happened, where that is after it was told: see ledger.events.closing

    # eventsourcing's names (DomainEventProtocol)
    @property
    def originator_id(self) -> str:
        return self.stream

    @property
    def originator_version(self) -> int:
        return self.version

    @property
    def said_at(self) -> int:
        """When it says it happened."""
        return self.time if self.claimed is None else self.claimed

    @property
    def order(self) -> tuple[int, int]:
        """In force at its time; equal times in order of position."""
        return self.time, self.position


def upcast(type_name: str, version: int, data: dict[str, Any]) -> dict[str, Any]:
    """Raise `data` of an older dataschema to the newest. Raises InvalidEvent for one that nobody knows."""
    newest = SCHEMA_VERSION
    if not 1 <= version <= newest:
        raise InvalidEvent(
            "dataschema", f"is no version of {type_name} that this program knows: it knows 1 to {newest}"
        )
    while version < newest:
        step = UPCASTS.get((type_name, version))
        data = step(data) if step else data
        version += 1
    return data


def controller_stream(controller: str) -> str:
    """The stream of the entries about a controller."""
    return CONTROLLER_PREFIX + controller


def encode(fields: dict[str, Any]) -> bytes:
    """The exact bytes of an entry; `fields` in the documented order."""
    return orjson.dumps(fields)


def decode(position: int, raw: bytes) -> Entry:
    """An entry from its stored bytes. Raises CorruptEntry or NewerEntry, naming the position."""
    try:
        fields = orjson.loads(raw)
        if fields["v"] != FORMAT or fields["type"] not in TYPES or fields["dataschema"] != SCHEMA_VERSION:
            _require_readable(position, fields)
        type_name, schema, data = fields["type"], fields["dataschema"], fields["data"]
        if schema != SCHEMA_VERSION:
            data = upcast(type_name, schema, data)
        person = fields.get("person")
        time, recorded_at = parse_stored(fields["time"]), parse_stored_again(fields["recorded_at"])
        model = validate(type_name, data)
        claimed = None
        if time > recorded_at and closes(model):
            time, claimed = recorded_at, time
        return Entry(
            position,
            person if person is not None else fields["stream"],
            fields["version"],
            type_name,
            fields["controller"],
            fields["source"],
            fields["id"],
            time,
            recorded_at,
            model,
            fields.get("personal") or {},
            fields.get("role", "controller"),
            fields.get("of"),
            fields.get("actor"),
            fields.get("prev"),
            claimed,
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidEvent) as error:
        what = f"{type(error).__name__} {error}"
        raise CorruptEntry(f"entry {position} does not decode ({what}): restore the store from a backup") from None


def _require_readable(position: int, fields: dict[str, Any]) -> None:
    """Raise NewerEntry for what only a newer program can have written, ValueError for a format that nobody wrote."""
    form = fields["v"]
    if type(form) is int and form > FORMAT:
        raise NewerEntry(position, f"format {form}")
    if form != FORMAT:
        raise ValueError(f"format {form!r} is unknown, this program knows {FORMAT}")
    type_name, schema = fields["type"], fields["dataschema"]
    if isinstance(type_name, str) and type_name not in TYPES:
        raise NewerEntry(position, f"type {type_name[:64]!r}")
    if type(schema) is int and schema > SCHEMA_VERSION:
        raise NewerEntry(position, f"dataschema {schema}")


def controller_of(raw: bytes) -> str:
    """The controller that an entry of a newer program names; "" where it names none."""
    try:
        found = orjson.loads(raw).get("controller")
    except (ValueError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def recorded_at(position: int, raw: bytes) -> int:
    """When an entry was recorded, in microseconds, also of a newer program's. Raises as `decode` does."""
    try:
        return decode(position, raw).recorded_at
    except NewerEntry:
        try:
            return parse_stored(orjson.loads(raw)["recorded_at"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # of a format that says it otherwise
        raise


class Draft(NamedTuple):
    """An entry about to be appended: its stream, version, type and exact bytes."""

    originator_id: str
    originator_version: int
    type: str
    raw: bytes
