"""Whatever comes as an event or a question: it is judged alone, says which field to mend, and never raises.

Bodies are Python objects here, as an embedding app hands them over, and JSON texts, as lines bring them.
"""

from __future__ import annotations

import enum
import json
import math
import threading
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
from conftest import PERSON, accept, assert_whole, event, letter, rows, size, stored, together
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consent_ledger.ledger.errors import InvalidEvent, InvalidQuestion
from consent_ledger.ledger.events.facts import Change
from consent_ledger.ledger.intake import parse
from consent_ledger.ledger.intake.parse import ENVELOPE, parse_json, parse_line, prepare
from consent_ledger.projections.decision.question import FIELDS, parse_question

HALF = json.loads('"Ann \\ud83d"')
WHO = {"controller": "parature", "subject": PERSON}
ASKED = {**WHO, "action": "contact", "purpose": "newsletter", "list": "product-news", "channel": "email"}


def changed(path, value):
    """A valid event with another value in one place."""
    body = event("consent.granted", {"categories": ["email"], "recipients": ["r"]}, personal={"email": "a@example.com"})
    *folders, name = path.split(".")
    inner = body
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    return body


def renamed(path, name):
    """A valid event with one more member under some name."""
    body = changed("actor", "subject")
    inner = body
    for folder in path.split(".") if path else ():
        inner = inner[folder]
    inner[name] = "x"
    return body


# where half a surrogate pair stands: the event, the field that the outcome names
HALVES = {
    **{
        name: (changed(name, HALF), name) for name in ("source", "id", "type", "time", "controller", "subject", "actor")
    },
    **{name: (changed(name, HALF), name) for name in ("specversion", "datacontenttype", "dataschema", "role", "data")},
    "of": ({**changed("role", "processor"), "of": HALF}, "of"),
    "data.list": (changed("data.list", HALF), "list"),
    "data.expires_at": (changed("data.expires_at", HALF), "expires_at"),
    "data.categories": (changed("data.categories", ["email", HALF]), "categories"),
    "data.recipients": (changed("data.recipients", [HALF]), "recipients"),
    "data.of": (event("subject.registered", {"of": HALF}), "of"),
    "data.change": (
        event("policy.published", {"version": "1", "text_sha256": "00", "pack_sha256": "00", "change": {HALF: 1}}),
        "change",
    ),
    "personal": (changed("data.personal", HALF), "personal"),
    "personal value": (changed("data.personal.email", HALF), "email"),
    "personal name": (renamed("data.personal", HALF), "personal"),
    "other name": (event("subject.linked", personal={"other": HALF}), "other"),
    "name in data": (renamed("data", HALF), "data"),
    "name of an attribute": (renamed("", HALF), "event"),
}


# where any text would do: what is wrong with this one is said
SAID = {"source", "id", "type", "controller", "subject", "of", "data.list", "data.categories", "data.recipients",
        "data.of", "data.change", "personal value", "other name", "name in data"}  # fmt: skip


@pytest.mark.parametrize("name", HALVES)
def test_half_a_surrogate_pair_is_the_fault_of_one_event(memory, name):
    broken, field = HALVES[name]

    first, second, third = memory.record([event(), broken, event()])

    assert (first.kind, second.kind, third.kind) == ("accepted", "invalid", "accepted")
    assert second.field == field
    assert second.reason.encode()
    assert ("half of a surrogate pair" in second.reason) == (name in SAID)
    assert_whole(memory)


@pytest.mark.parametrize("name", ["subject", "personal value", "name in data"])
def test_it_costs_other_callers_nothing(store, name, monkeypatch):
    broken, _ = HALVES[name]
    came = together(store.ledger, [event(), broken, event()], monkeypatch)
    assert [one.kind for one in came] == ["accepted", "invalid", "accepted"]
    assert_whole(store.ledger)


def test_what_an_outcome_names_holds_nothing_personal_and_steers_no_terminal(memory):
    for name in ("ann@example.com", "\x1b[2J", "", HALF, 5, b"x", None, 10**5000, ("a", "b")):
        for path in ("", "data"):
            (outcome,) = memory.record([renamed(path, name)])
            assert (outcome.kind, outcome.field) in (("invalid", "event"), ("invalid", "data")), name
            assert "ann@example.com" not in f"{outcome}"


HUGE = 10**5000  # more digits than Python writes
LOOP: list = []
LOOP.append(LOOP)
ROUND: dict = {}
ROUND[" "] = ROUND
ODD = {
    "set": {"a"},
    "bytes": b"newsletter",
    "tuple": ("newsletter",),
    "huge": HUGE,
    "nan": math.nan,
    "infinity": math.inf,
    "decimal": Decimal("1.5"),
    "uuid": UUID(int=1),
    "moment": datetime(2026, 1, 2, tzinfo=UTC),
    "naive moment": datetime(2026, 1, 2),  # noqa: DTZ001
    "model": Change(),
    "object": object(),
    "function": len,
    "loop": LOOP,
    "round": ROUND,
    "deep": json.loads("[" * 900 + "]" * 900),
    "true": True,
    "list": [],
    "empty": "",
}
PLACES = [*sorted(ENVELOPE), "data.purpose", "data.categories", "data.basis", "data.personal", "data.personal.email"]


RIGHT = {  # true equals 1
    ("data.categories", "list"),
    ("data.personal.email", "empty"),
    ("dataschema", "true"),
    ("time", "moment"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_an_odd_value_is_invalid_and_names_its_field(place, odd):
    body = changed(place, ODD[odd])
    if (place, odd) in RIGHT:
        assert prepare(body).type == "consent.granted"
        return
    with pytest.raises(InvalidEvent) as caught:
        prepare(body)
    assert caught.value.field in ({"purpose", "data"} if place == "data" else {place.rpartition(".")[2]})
    assert not caught.value.message.startswith("cannot be read")  # each was seen to, not only caught


def test_a_model_in_place_of_its_json_is_no_event(memory):
    data = {"version": "2", "text_sha256": "00", "pack_sha256": "00", "change": Change()}
    outcomes = memory.record([event(), event("policy.published", data), event()])
    assert [one.kind for one in outcomes] == ["accepted", "invalid", "accepted"]
    assert outcomes[1].field == "data"


class Word(str, enum.Enum):  # noqa: UP042  what format() makes of it is not what it says
    CONTROLLER = "parature"
    NAME = "crm:4711"
    OTHER = "web:ann"
    PURPOSE = "newsletter"
    KIND = "subject.linked"


def test_a_member_of_an_enum_is_its_text(memory):
    accept(memory, event(), event(personal={"other": "web:ann"}, type_name="subject.linked"))
    before = rows(memory, "SELECT count(*) FROM aliases")
    linked = event("subject.linked", personal={"other": Word.OTHER}, subject=Word.NAME, controller=Word.CONTROLLER)
    employee = {"kind": "employee", "of": Word.OTHER}
    accept(memory, {**linked, "type": Word.KIND}, event("subject.registered", employee))
    assert rows(memory, "SELECT count(*) FROM aliases") == before
    assert b"Word" not in b"".join(stored(memory))
    assert memory.decide({**ASKED, "subject": Word.NAME, "controller": Word.CONTROLLER}).outcome == "deny"
    assert_whole(memory)


# -- anything ----------------------------------------------------------------------------------------------------------

WORDS = ["", "\0", HALF, "ann@example.com", "2026-01-02T03:04:05Z", "newsletter", "crm:4711", "1", "x" * 201]
texts = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "L"]), max_size=4),
)
odd = st.sampled_from(sorted(ODD)).map(lambda name: ODD[name])
keys = st.one_of(st.none(), st.booleans(), st.integers(), texts, st.binary(max_size=4), st.builds(lambda: HUGE))
leaves = st.one_of(keys, st.floats(), odd, st.sampled_from([2**63, -(2**64), -1, 0, 1, 1.0]))
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)
valid = st.sampled_from(
    ["service.used", "subject.registered", "subject.age.learned", "subject.linked", "information.collected",
     "consent.granted", "consent.refused", "optout.recorded", "message.sent", "recipient.registered", "hold.placed",
     "deletion.requested", "deletion.completed"]
).map(event)  # fmt: skip
names = st.one_of(st.sampled_from([*sorted(ENVELOPE), "personal", "purpose", "list", "expires_at"]), keys)


@st.composite
def mutated(draw):
    body = dict(draw(valid))
    body["data"] = dict(body["data"])
    for _ in range(draw(st.integers(1, 3))):
        inner = draw(st.sampled_from([body, body["data"]]) if isinstance(body.get("data"), dict) else st.just(body))
        inner[draw(names)] = draw(anything)
    if draw(st.booleans()) and isinstance(body.get("data"), dict):
        body["data"]["personal"] = draw(st.dictionaries(names, anything, max_size=2))
    return body


def judged(function, error, body):
    """What comes of a body: the error as it would be shown, or what the function made of it."""
    try:
        return function(body), None
    except error as found:
        return None, (found.field, found.message)


SHOWN = ("type", "data", "personal", "controller", "subject", "source", "id", "time_text", "role", "of", "actor")


@given(st.one_of(anything, mutated()))
@settings(max_examples=400)
@example(event())
def test_prepare_raises_nothing_but_invalid_event(body):
    done, why = judged(prepare, InvalidEvent, body)
    if done is None:
        assert why[0]
        assert not why[1].startswith("cannot be read")
        assert orjson.dumps(why)
    else:
        assert orjson.loads(done.content())
        assert orjson.dumps([getattr(done, name) for name in SHOWN])


@given(st.lists(mutated(), min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_batch_is_recorded_whatever_stands_in_it(memory, bodies):
    first, *between, last = memory.record([event(), *bodies, event()])
    assert (first.kind, last.kind) == ("accepted", "accepted")
    for outcome in between:
        assert outcome.kind in ("accepted", "refused", "conflict", "invalid")
        assert orjson.dumps(list(outcome))


class Hostile(dict):
    def get(self, *_):
        raise ZeroDivisionError(PERSON)


class Lying(str):
    __slots__ = ()

    def __ne__(self, other):
        raise RecursionError(PERSON)


@pytest.mark.parametrize("body", [Hostile(event()), event(specversion=Lying("1.0"))], ids=["dict", "text"])
def test_what_nobody_thought_of_is_invalid_too(memory, body):
    outcomes = memory.record([event(), body, event()])
    assert [one.kind for one in outcomes] == ["accepted", "invalid", "accepted"]
    assert outcomes[1].field == "event"
    assert outcomes[1].reason.startswith("cannot be read (")
    assert PERSON not in outcomes[1].reason


def test_a_lack_of_memory_is_not_the_events_fault(memory, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    before = size(memory)
    monkeypatch.setattr(parse, "validate", exhausted)
    with pytest.raises(MemoryError):
        memory.record([event()])
    assert size(memory) == before


# -- questions ---------------------------------------------------------------------------------------------------------


@given(st.one_of(anything, st.dictionaries(st.one_of(st.sampled_from(sorted(FIELDS)), keys), anything), mutated()))
@settings(max_examples=400)
def test_a_question_raises_nothing_but_invalid_question(body):
    for asked in (body, {**ASKED, **body} if isinstance(body, dict) else body):
        question, why = judged(parse_question, InvalidQuestion, asked)
        if question is None:
            assert not why[1].startswith("cannot be read")
            assert orjson.dumps(why)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_question_names_the_field_that_is_wrong(name):
    for value in (HALF, [HALF], {HALF: 1}, b"x", 5, [[]]):
        with pytest.raises(InvalidQuestion) as caught:
            parse_question({**ASKED, name: value})
        assert caught.value.field == name


@pytest.mark.parametrize(
    "body", [HALF, 5, None, [ASKED], {5: 1}, {HALF: 1}, {"subject": HALF}, {"at": HALF}], ids=ascii
)
def test_every_way_to_ask_is_held_to_it(memory, body):
    accept(memory, event())
    asks = [memory.decide, memory.state, memory.history, memory.obligations, memory.findings, memory.recipients]
    for ask in [*asks, memory.refusals, memory.found]:
        with pytest.raises(InvalidQuestion) as caught:
            ask(body)
        assert orjson.dumps([caught.value.field, caught.value.message])


def test_what_nobody_thought_of_in_a_question_is_invalid_too():
    with pytest.raises(InvalidQuestion, match=r"^question: cannot be read \(ZeroDivisionError\)"):
        parse_question(Hostile(ASKED))


# -- members given twice -----------------------------------------------------------------------------------------------

LINE = orjson.dumps(event("optout.recorded", {"scope": "all"})).decode()
TWICE = {
    "type": LINE[:-1] + ',"type":"optout.lifted"}',
    "same-value": LINE[:-1] + ',"specversion":"1.0"}',
    "first": '{"subject":"crm:2",' + LINE[1:],
    "in-data": LINE.replace('"scope":"all"', '"scope":"all","scope":"list","list":"x"'),
    "in-personal": LINE.replace('"scope":"all"', '"scope":"all","personal":{"email":"a","email":"b"}'),
    "data": LINE[:-1] + ',"data":{"scope":"general"}}',
    "escaped": LINE[:-1] + ',"\\u0074ype":"optout.lifted"}',
    "escaped-slash": LINE.replace('"scope":"all"', '"scope":"all","a/b":1,"a\\/b":2'),
    "spaced": LINE[:-1] + ' ,\t"type" : "optout.lifted" }',
    "in-a-list": LINE[:-1] + ',"x":[1,[{"a":1,"a":1}]]}',
    "empty-name": LINE[:-1] + ',"":1,"":2}',
    "behind-what-looks-like-one": LINE.replace('"scope":"all"', '"list":"a\\":","scope":"all","scope":"all"'),
    "long-number": LINE[:-1] + ',"x":' + "1" * 300 + ',"x":1}',
}
ONCE = {
    "spaced": json.dumps(json.loads(LINE)),
    "indented": json.dumps(json.loads(LINE), indent=1),
    "same-name-elsewhere": LINE.replace('"scope":"all"', '"scope":"list","list":"type","personal":{"email":"b"}'),
    "text-that-looks-like-one": LINE.replace(
        '"scope":"all"', '"scope":"all","personal":{"email":"\\"type\\": \\"a\\":"}'
    ),
    "escaped": LINE.replace("optout.recorded", "\\u006fptout.recorded"),
    "not-ascii": LINE.replace('"scope":"all"', '"scope":"list","list":"Grüße"'),
    "other-case": LINE[:-1] + ',"Type":1}',
}


@pytest.mark.parametrize("name", TWICE)
def test_a_member_given_twice_is_invalid(store, name):
    raw = TWICE[name].encode()
    before = size(store.ledger)

    tally = store.ingest(event(), raw, event())

    assert (tally.accepted, tally.invalid, size(store.ledger)) == (2, 1, before + 2)
    kept = letter(store.ledger)
    assert kept.field == "event"
    assert "is given twice" in kept.reason


@pytest.mark.parametrize("name", ONCE)
def test_a_member_given_once_is_not_taken_for_two(name):
    assert parse_line(ONCE[name].encode()) == json.loads(ONCE[name])


def test_the_name_of_a_member_given_twice_is_shown_unless_it_is_personal():
    with pytest.raises(ValueError, match=r"^the member 'scope' is given twice$"):
        parse_json(TWICE["in-data"].encode())
    with pytest.raises(ValueError, match=r"^a member is given twice$"):
        parse_json(b'{"ann@example.com":1,"ann@example.com":2}')


@pytest.mark.parametrize("deep", [100, 900, 1020])
def test_nesting_is_no_way_around_it(deep):
    once = '{"a":' * deep + "1" + "}" * deep
    with pytest.raises(ValueError, match=r"is given twice|nested too deep"):
        parse_json(once.replace('"a":1}', '"a":1,"a":2}').encode())
    if deep < 900:  # deeper than Python's stack it is refused, as what cannot be looked through
        assert parse_json(once.encode()) == parse_json(once.replace("1", " 1 ").encode()) == json.loads(once)


def test_a_hundred_thousand_members_are_looked_through_once(monkeypatch):
    many = b"{" + b",".join(b'"%x":0' % n for n in range(100_000)) + b',"1869f":1}'
    done = threading.Event()

    def read():
        with pytest.raises(ValueError, match="a member is given twice"):
            parse_json(many)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(timeout=10)


def written(draw, value, space):
    """JSON text of a value in some spelling, and whether a member was given twice in it."""
    if isinstance(value, dict):
        pairs = [(name, *written(draw, inner, space)) for name, inner in value.items()]
        twice = any(one[2] for one in pairs)
        if pairs and draw(st.integers(0, 5)) == 0:
            pairs.insert(draw(st.integers(0, len(pairs))), (draw(st.sampled_from(pairs))[0], "0", False))
            twice = True
        blanks = st.sampled_from(["", *space])
        body = ",".join(
            f"{draw(blanks)}{spelled(draw, name)}{draw(blanks)}:{draw(blanks)}{text}" for name, text, _ in pairs
        )
        return "{" + body + "}", twice
    if isinstance(value, list):
        parts = [written(draw, inner, space) for inner in value]
        return "[" + ",".join(text for text, _ in parts) + "]", any(twice for _, twice in parts)
    return (spelled(draw, value) if isinstance(value, str) else json.dumps(value)), False


def spelled(draw, text):
    if draw(st.booleans()):
        return orjson.dumps(text).decode()
    return '"' + "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else one for one in text) + '"'


plain = st.text(st.one_of(st.sampled_from('": \\/,{}ab'), st.characters(codec="utf-8")), max_size=4)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), plain),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(plain, inner, max_size=4)),
    max_leaves=10,
)


@given(st.data(), json_values, st.sampled_from([(), (" ", "\t", "\n", "\r ")]))
@settings(max_examples=300)
def test_json_of_any_spelling_is_read_whole_or_refused(data, value, space):
    text, twice = written(data.draw, value, space)
    if twice:
        with pytest.raises(ValueError, match="is given twice"):
            parse_json(text.encode())
    else:
        assert parse_json(text.encode()) == value


def test_questions_from_a_file_are_read_as_strictly(cli, store, tmp_path):
    accept(store.ledger, event())
    asked = orjson.dumps(ASKED).decode()
    lines = [asked, asked[:-1] + ',"channel":"post"}', asked[:-1] + ',"at":"\\ud83d"}', "[]", json.dumps(ASKED), "{"]
    (tmp_path / "q.ndjson").write_text("\n".join(lines) + "\n")
    answers = [orjson.loads(line) for line in cli("decide", "--from", tmp_path / "q.ndjson").stdout.splitlines()]
    assert [one.get("outcome") or one["invalid"] for one in answers] == ["deny", *["question"] * 3, "deny", "question"]
    assert answers[1]["reason"] == "the member 'channel' is given twice"
