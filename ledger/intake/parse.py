"""What comes in: a CloudEvent in JSON, checked as far as it can be without the store.

Everything here is pure. An event that passes is a `Prepared`; anything else, whatever it is, is an InvalidEvent naming
the field: events are judged one by one, and none may keep those beside it from being recorded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.events.catalogue import (
    FIELD_NAME,
    HALF,
    OWN_TYPES,
    SCHEMA_VERSION,
    TIMES,
    TYPES,
    UNPRINTABLE,
    Change,
    Data,
    Fact,
    shown,
    validate,
)
from consent_ledger.ledger.events.decision_id import parse as parse_decision
from consent_ledger.ledger.identifiers import cleartext
from consent_ledger.ledger.identifiers.spellings import name_form
from consent_ledger.ledger.intake.media import require_json, told_data
from consent_ledger.ledger.intake.named import Named
from consent_ledger.ledger.limits import (
    DEPTH_LIMIT,
    LINE_LIMIT_BYTES,
    MEMBER_LIMIT,
    PERSONAL_LIMIT,
    VALUE_MOST_BYTES,
    deeper,
    too_large,
)
from consent_ledger.ledger.log.entry import LIMIT_BYTES, upcast
from consent_ledger.ledger.policy.personal_fields import DEFAULT_NAMES, spelt
from consent_ledger.ledger.times import SECOND, as_held, as_stored, parse_time, told

SKEW: Final = 300 * SECOND  # a time may be this much after the moment of recording
ENVELOPE: Final = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "controller", "data", "data_base64", "datacontenttype",
     "dataschema", "actor", "role", "of")
)  # fmt: skip
ACTORS: Final = frozenset(("subject", "guardian", "operator", "system"))
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
# words of the pack, checked there; hashes and times: the rest of what stays is looked at
_NOT_TEXT: Final = frozenset(
    ("purpose", "categories", "class", "new_uses", "text_sha256", "pack_sha256", "expires_at", "effective_at",
     "secret_until", "archive_until", "until", "decision")
)  # fmt: skip
_PERSONAL: Final = DEFAULT_NAMES | {name for model in TYPES.values() for name in model.personal_names or ()}
_FIELDS: Final = (
    _PERSONAL
    | ENVELOPE
    | {"personal", "event"}
    | {field.alias or name for model in TYPES.values() for name, field in model.model_fields.items()}
    | {*Change.model_fields}
)
_OF_JSON: Final = frozenset((str, bool, int, list, dict, type(None)))
_REMEMBERED_CHARS: Final = 64  # the words that come again and again are short
_look_at_short: Final = lru_cache(maxsize=16_384)(cleartext.find)


@dataclass(slots=True)
class Prepared:
    """An event that is one. Times in microseconds; `data` as it came, without `personal`."""

    type: str
    model: Data
    data: dict[str, Any]
    personal: dict[str, str]
    controller: str
    subject: str | None
    source: str
    id: str
    time: int
    time_text: str  # RFC 3339, UTC
    role: str
    of: str | None
    actor: str | None
    told: bytes  # all of it, as JSON: what is none is found before it is in a batch
    recorded_at: int | None = None  # only in a scenario
    named: Named | None = None  # the addresses in it
    numbers: dict[str, str] = field(default_factory=dict)  # personal field -> kind of the number that its value holds
    alias: bytes = b""  # filled in by the batch: keyed hashes of name, key and content
    older_alias: bytes = b""  # of a name that is found otherwise in stores before format 4
    key: bytes = b""
    digest: bytes = b""

    def content(self) -> bytes:
        """What two events with the same key must share to be the same."""
        return self.told


def parse_json(text: bytes) -> Any:
    """What a JSON text says. Raises ValueError for no JSON, and for an object with a member given twice.

    Of two readers of such an object one believes the first and one the last: they were told opposite things.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    # Compact text comes out again as it went in, so nothing of it was lost: 0.3 us a line. Any other is read once more
    # by the parser that shows every member: 2.6 us.
    if not _comes_out_again(value, text):
        _require_unique(text)
    return value


def _comes_out_again(value: Any, text: bytes) -> bool:
    try:
        return orjson.dumps(value) == text
    except orjson.JSONEncodeError:  # nested deeper than orjson writes
        return False


def _require_unique(text: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) != len(pairs):
            left = dict(pairs)
            twice = next(name for name, _ in pairs if left.pop(name, pairs) is pairs)
            raise ValueError(f"the member {twice!r} is given twice" if twice in _FIELDS else "a member is given twice")

    try:
        json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("nested too deep") from None


def known_field(name: str | None) -> str:
    """A field's name as it may be shown and kept in clear: one that no event has is what somebody wrote, too."""
    return name if name in _FIELDS else "event"


def parse_line(line: bytes) -> Any:
    """JSON of one line. Raises InvalidEvent."""
    if len(line) > LINE_LIMIT_BYTES:
        raise too_long(len(line))
    try:
        return parse_json(line)
    except ValueError as error:
        raise InvalidEvent("event", f"{error}: send one JSON object a line, each member once") from None


def too_long(size: int) -> InvalidEvent:
    """The error about an event of so many bytes."""
    return InvalidEvent("event", f"{too_large('it', size, LINE_LIMIT_BYTES)}: send it in smaller events")


def prepare(body: Any) -> Prepared:
    """Check one event. Raises InvalidEvent, and MemoryError; nothing else, whatever `body` is or does."""
    try:
        return _prepare(body)
    except (InvalidEvent, MemoryError):  # a lack of memory is not the event's fault
        raise
    except Exception as error:  # noqa: BLE001  one event may not keep the others of its batch from being recorded
        raise InvalidEvent("event", f"cannot be read ({type(error).__name__}): send what JSON can say") from None


def _prepare(body: Any) -> Prepared:
    if not isinstance(body, dict):
        raise InvalidEvent("event", "wants a JSON object")
    if not ENVELOPE.issuperset(body):
        unknown = next(name for name in body if name not in ENVELOPE)
        named = isinstance(unknown, str) and FIELD_NAME.fullmatch(unknown)
        raise InvalidEvent(
            shown(unknown) if named else "event", "unknown field: an event has " + ", ".join(sorted(ENVELOPE))
        )
    if body.get("specversion") != "1.0":
        raise InvalidEvent("specversion", 'wants "1.0" (CloudEvents 1.0)')
    source, event_id = _text(body, "source"), _text(body, "id")
    type_name, controller = _text(body, "type"), _text(body, "controller")
    model_type = TYPES.get(type_name)
    if model_type is None or type_name in OWN_TYPES:
        why = f"{type_name} is written by the ledger itself" if model_type else "unknown event type"
        raise InvalidEvent("type", f"{why}: the reference of events lists those that can be published")
    told_time = _time(body)
    time = _parsed("time", told_time)
    role, of, actor = _role(body)
    subject = _subject(body, model_type)
    data, personal = _data(body, model_type)
    data = _with_times(type_name, _schema(body, type_name, data))
    model = validate(type_name, data)
    if type_name in ("subject.linked", "subject.unlinked"):
        if data.get("other") is not None:
            raise InvalidEvent("other", "who somebody is goes under data.personal")
        if not personal.get("other") or name_form(personal["other"]) == name_form(subject or ""):
            raise InvalidEvent("other", "wants another name of the same person, under data.personal")
    if data.get("decision") is not None and parse_decision(data["decision"]) is None:
        raise InvalidEvent("decision", "wants the id of an answer, as it was given, or nothing")
    whole = _json([type_name, controller, subject, time, role, of, actor, data, personal])
    _require_size(whole, data)
    _look_at(source, event_id, data, role, of)
    # all that is matched is matched here, before there is a transaction that others wait for
    numbers = {
        name: str(hit.kind.value) for name, text in personal.items() if (hit := cleartext.forbidden_number(text))
    }
    return Prepared(
        type_name, model, data, personal, controller, subject, source, event_id, time,
        as_stored(told_time, time), role, of, actor, whole, numbers=numbers,
    )  # fmt: skip


def _require_size(told: bytes, data: dict[str, Any]) -> None:
    """Raise InvalidEvent for what no line could have said, and for more in clear than an entry has room for."""
    if len(told) <= LIMIT_BYTES:
        return
    if len(told) > LINE_LIMIT_BYTES:
        raise too_long(len(told))
    size = len(orjson.dumps(data))
    if size > LIMIT_BYTES:
        raise InvalidEvent("data", f"has {size} bytes beside personal, an entry has at most {LIMIT_BYTES}: split it")


def _schema(body: dict[str, Any], type_name: str, data: dict[str, Any]) -> dict[str, Any]:
    """`data` in the newest version of its type."""
    schema = body.get("dataschema", SCHEMA_VERSION)
    if schema == SCHEMA_VERSION:
        return data
    number = int(schema) if isinstance(schema, str) and schema.isdecimal() and len(schema) < 4 else schema
    if not isinstance(number, int) or abs(number) > 999:
        raise InvalidEvent("dataschema", "wants the number of a version")
    return upcast(type_name, number, data)


def _with_times(type_name: str, data: dict[str, Any]) -> dict[str, Any]:
    """`data` with its times as an entry holds them."""
    for name in TIMES[type_name]:
        value = data.get(name)
        if isinstance(value, (str, datetime)):
            text = _told(name, value)
            held = as_held(text, _parsed(name, text))
            data = data if held is value else {**data, name: held}
    return data


def _json(whole: list[Any]) -> bytes:
    try:
        return orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise InvalidEvent("data", f"is no JSON ({error}): send what JSON can say") from None


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise InvalidEvent(name, "is missing")
    if not isinstance(value, str) or not value:
        raise InvalidEvent(name, "wants text")
    if len(value) > 200:
        raise InvalidEvent(name, "wants at most 200 printable characters")
    _require_printable(name, value)
    return _plain(value)


def _require_printable(name: str, value: str) -> None:
    """Raise InvalidEvent for a character that steers a terminal, turns text around, or is not seen at all."""
    found = UNPRINTABLE.search(value)
    if found is None:
        return
    if "\ud800" <= found[0] <= "\udfff":
        raise InvalidEvent(name, HALF)
    raise InvalidEvent(
        name, f"wants printable characters: U+{ord(found[0]):04X} controls, turns or hides text, remove it"
    )


def _plain(value: str) -> str:
    """The same text as a `str` and nothing more: a member of an Enum formats itself as something else."""
    return value if value.__class__ is str else str.__str__(value)


def _time(body: dict[str, Any]) -> str:
    if body.get("time") is None:
        raise InvalidEvent("time", "is missing: say when it happened, such as 2026-01-02T03:04:05Z")
    return _told("time", body["time"])


def _told(name: str, value: object) -> str:
    try:
        return told(value)
    except ValueError as error:
        raise InvalidEvent(name, str(error)) from None


def _parsed(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidEvent(name, str(error)) from None


def _role(body: dict[str, Any]) -> tuple[str, str | None, str | None]:
    role = body.get("role", "controller")
    if role not in ("controller", "processor"):
        raise InvalidEvent("role", "wants controller or processor")
    of = None
    if "of" in body:
        if role != "processor":
            raise InvalidEvent("of", "names the controller beside role processor only; a customer goes into data.of")
        of = _text(body, "of")
    actor = body.get("actor")
    if actor is not None and (not isinstance(actor, str) or actor not in ACTORS):
        raise InvalidEvent("actor", "wants subject, guardian, operator or system")
    require_json(body.get("datacontenttype", "application/json"))
    return role, of, actor


def _subject(body: dict[str, Any], model: type[Fact]) -> str | None:
    if model.about_controller:
        if body.get("subject") is not None:
            raise InvalidEvent("subject", f"{model.type} is about the controller and has no subject")
        return None
    return _text(body, "subject")


def _data(body: dict[str, Any], model: type[Fact]) -> tuple[dict[str, Any], dict[str, str]]:
    data = told_data(body, parse_json)
    where = "data_base64" if "data_base64" in body else "data"
    if not isinstance(data, dict):
        raise InvalidEvent(where, "wants a JSON object")
    if len(data) > MEMBER_LIMIT:
        raise InvalidEvent("data", f"has {len(data)} members, the limit is {MEMBER_LIMIT}")
    if not _OF_JSON.issuperset(map(type, data.values())):
        data = {name: _plain(value) if isinstance(value, str) else value for name, value in data.items()}
    for name, value in data.items():
        if name != "personal" and isinstance(value, dict | list) and deeper(value, DEPTH_LIMIT):
            raise InvalidEvent(
                name if name in _FIELDS else "data",
                f"nested too deep: the limit is {DEPTH_LIMIT} objects and lists in one another",
            )
    if "personal" not in data:
        return data, {}
    personal = data["personal"]
    data = {name: value for name, value in data.items() if name != "personal"}
    if not isinstance(personal, dict):
        raise InvalidEvent("personal", "wants a JSON object of names and texts")
    if model.about_controller and personal:
        raise InvalidEvent("personal", f"{model.type} is about the controller and has no personal fields")
    if len(personal) > PERSONAL_LIMIT:
        raise InvalidEvent(
            "personal", f"has {len(personal)} fields, the limit is {PERSONAL_LIMIT}: send several events"
        )
    return data, {name: _personal(name, value, model) for name, value in personal.items()}


def _personal(name: Any, value: Any, model: type[Fact]) -> str:
    """The text of one personal field."""
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise InvalidEvent(
            "personal", "names of personal fields are of at most 64 letters, digits, dots, dashes and underscores"
        )
    if (hit := _look(name)) is not None:
        raise _too_clear("personal", hit)
    shown_as = name if FIELD_NAME.fullmatch(name) and spelt(name) in _PERSONAL else "personal"
    if model.personal_names is not None and name not in model.personal_names:
        raise InvalidEvent(shown_as, f"{model.type} has no such personal field: {', '.join(model.personal_names)}")
    if not isinstance(value, str):
        raise InvalidEvent(shown_as, "wants text")
    if "\0" in value:
        raise InvalidEvent(shown_as, "holds a NUL character: remove it")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEvent(shown_as, HALF) from None
    if size > VALUE_MOST_BYTES:
        raise InvalidEvent(shown_as, f"{too_large('its value', size, VALUE_MOST_BYTES)}")
    return _plain(value)


def _look_at(source: str, event_id: str, data: dict[str, Any], role: str, of: str | None) -> None:
    """Refuse clear text that looks like it says who somebody is: it would stay for ever."""
    _look_at_one("source", source)
    hit = cleartext.find(event_id)
    if hit is not None:
        raise _too_clear("id", hit)
    if of is not None:
        _look_at_one("of", of)
    for name, value in data.items():
        if name in _NOT_TEXT or (name == "of" and role != "processor"):
            continue
        _look_into(name, value)


def _look_into(name: str, value: Any) -> None:
    if isinstance(value, str):
        _look_at_one(name, value)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, str):
                _look_at_one(name, one)
    elif isinstance(value, dict):
        for inner, one in value.items():
            if inner not in _NOT_TEXT:
                _look_into(inner, one)


def _look_at_one(name: str, value: str) -> None:
    if not value.isascii():  # what of ASCII is not printed, the models refuse
        _require_printable(name, value)
    hit = _look(value)
    if hit is not None:
        raise _too_clear(name, hit)


def _look(text: str) -> cleartext.Hit | None:
    """`cleartext.find`, remembered for short texts: what is remembered is at most a few MiB, whatever comes in."""
    return _look_at_short(text) if len(text) <= _REMEMBERED_CHARS else cleartext.find(text)


def _too_clear(name: str, hit: cleartext.Hit) -> InvalidEvent:
    article = "an" if hit.what[0] in "aeiouAEIO" else "a"
    return InvalidEvent(name, f"looks like {article} {hit.what}: what says who somebody is goes under data.personal")
