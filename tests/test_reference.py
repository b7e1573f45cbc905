"""Random histories, answered by the product and by the slow transcription in `reference.py`.

`REFERENCE_EXAMPLES=20000 pytest tests/test_reference.py` looks as long as you like.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from mutants import stale_equivalents
from reference import CATEGORIES_BY_CHANNEL, CLOSING, DAY, SECOND, word_on

from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.ledger.policy.load import load_pack

EXAMPLES = int(os.environ.get("REFERENCE_EXAMPLES", "0"))
START = datetime(2026, 1, 1, tzinfo=UTC)
HALF_DAYS = DAY // 2
TWO_YEARS = 2 * 365 * 2  # in half days
NAMES = ("ann", "bob", "cat")
ACTORS = ("subject", "subject", "guardian", "operator", "system")
SIGNALS = (None, None, "link", "reply", "complaint", "gpc", "nai", "partner")
EXPRESS = {"basis": "express"}
YES_TO_NEWS = {"purpose": "news", "basis": "express"}
ANY = {"basis": "any"}
PER_LIST = {"basis": "express", "per": ["list"]}
PER_ITEM = {"basis": "any", "named": ["item"]}
FREE = None  # nothing is needed, and a no closes

HOUSE = b"""
format = 1
controller = "house"
title = "A house for these tests"
purposes = ["news", "calls", "club", "camp", "ads"]
marketing = ["news", "ads"]
advertising_purposes = ["ads"]
advertising_classes = ["network"]
classes = ["friend", "network"]
[categories]
personal = ["name", "email", "telephone", "postal-address"]
anonymous = ["page-views"]
[[clause]]
id = "H-1"
title = "What needs no yes"
rule = "Everything but the club, the camp and friends is free until a no."
[[clause.permit]]
action = ["contact", "use"]
not_purpose = ["club", "camp", "calls"]
[[clause.permit]]
action = ["disclose"]
class = ["network"]
[[clause]]
id = "H-2"
title = "What needs one"
rule = "Calls and friends need any yes, the club two, the camp a guardian's."
[[clause.permit]]
action = ["contact", "use"]
purpose = ["calls"]
needs = [{ need = "opt-in", basis = "any" }]
[[clause.permit]]
action = ["disclose"]
class = ["friend"]
needs = [{ need = "opt-in", basis = "any" }]
[[clause.permit]]
action = ["contact", "use"]
purpose = ["club"]
needs = [{ need = "opt-in", confirmed_within_days = 2 }]
[[clause.permit]]
action = ["contact", "use"]
purpose = ["camp"]
needs = [{ need = "opt-in", actor = "guardian" }]
[[clause]]
id = "H-3"
title = "How a no and a yes reach"
rule = "A no to all counts a business day later, by post for marketing only; a yes to some things lapses."
[[clause.objection]]
scope = "all"
channels = ["email", "sms", "telephone", "web"]
spares = ["club"]
effective_in_business_days = 1
[[clause.objection]]
scope = "all"
channels = ["post"]
marketing_only = true
[[clause.lapse]]
purpose = ["camp", "club"]
after_days = 3
[[clause.lapse]]
purpose = ["calls"]
after_months = 1
"""


@dataclass(frozen=True)
class Place:
    """A pack with the words that histories and questions about it use."""

    body: bytes
    purposes: tuple[str, ...]
    recipients: dict[str, str]
    categories: tuple[str, ...]
    opening: tuple[tuple[str, dict], ...]  # of every name
    asks: tuple[tuple[dict, dict | None], ...]  # a question, and the yes that the pack's row needs
    lists: tuple[str, ...] = ("news", "offers")
    agreements: tuple[str, ...] = ()

    @property
    def limits(self):
        """Fields that a consent can have beside its purpose."""
        recipients = [{"recipients": [name]} for name in self.recipients]
        return ({"categories": ["email"]}, {"categories": ["name", "email"]}, {"channels": ["email"]}, *recipients)

    @property
    def scopes(self):
        """Scopes of opt-outs, the ones that can touch an action more often."""
        every = ["all", "general", "purpose", "list", "channel", "recipient", "advertising"]
        return {
            "contact": [*every, "all", "general", "purpose", "list", "channel"],
            "use": [*every, "purpose", "purpose", "list"],
            "disclose": [*every, "purpose", "recipient", "recipient"],
        }

    @property
    def pack(self):
        return tomllib.loads(self.body.decode())


def teashop():
    page = (Path(__file__).parent.parent / "docs/how-to/write-a-pack.md").read_text()
    return re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1].encode()


SHIPPED = shipped_packs()
PLACES = {
    "house": Place(
        HOUSE,
        ("news", "calls", "club", "camp", "ads"),
        {"pal": "friend", "net": "network"},
        ("name", "email"),
        (),
        (
            ({"action": "contact", "purpose": "news"}, FREE),
            ({"action": "use", "purpose": "news"}, FREE),
            ({"action": "use", "purpose": "ads"}, FREE),
            ({"action": "contact", "purpose": "ads"}, FREE),
            ({"action": "contact", "purpose": "calls"}, ANY),
            ({"action": "contact", "purpose": "club"}, {"basis": "express", "confirmed_within_days": 2}),
            ({"action": "use", "purpose": "club"}, {"basis": "express", "confirmed_within_days": 2}),
            ({"action": "contact", "purpose": "camp"}, {"basis": "express", "actor": "guardian"}),
            ({"action": "use", "purpose": "camp"}, {"basis": "express", "actor": "guardian"}),
            ({"action": "disclose", "purpose": "news", "recipient": "pal"}, ANY),
            ({"action": "disclose", "purpose": "news", "recipient": "net"}, FREE),
            ({"action": "disclose", "purpose": "calls", "recipient": "net"}, FREE),
        ),
    ),
    "teashop": Place(
        teashop(),
        ("newsletter", "tasting", "workshop", "order"),
        {"hill": "roaster"},
        ("name", "email"),
        (("service.used", {"service": "order"}),),
        (
            ({"action": "contact", "purpose": "newsletter"}, PER_LIST | {"confirmed_within_days": 7}),
            ({"action": "contact", "purpose": "newsletter"}, PER_LIST | {"confirmed_within_days": 7}),
            ({"action": "contact", "purpose": "tasting"}, FREE),
            ({"action": "use", "purpose": "order"}, FREE),
            ({"action": "contact", "purpose": "workshop"}, EXPRESS),
            ({"action": "use", "purpose": "workshop"}, EXPRESS),
            ({"action": "disclose", "purpose": "tasting", "recipient": "hill"}, EXPRESS),
        ),
        agreements=("hill",),
    ),
    "parature": Place(
        SHIPPED["parature"],
        ("newsletter", "promotion", "support", "forum", "behavioural-advertising"),
        {"sister": "affiliate", "seller": "vendor", "ally": "partner", "adco": "advertising-partner"},
        ("name", "email"),
        (("service.used", {"service": "site"}),),
        (
            ({"action": "contact", "purpose": "newsletter"}, PER_LIST),
            ({"action": "use", "purpose": "newsletter"}, PER_LIST),
            ({"action": "contact", "purpose": "support"}, FREE),
            ({"action": "use", "purpose": "support"}, FREE),
            ({"action": "disclose", "purpose": "promotion", "recipient": "sister"}, EXPRESS),
            ({"action": "disclose", "purpose": "behavioural-advertising", "recipient": "seller"}, EXPRESS),
            ({"action": "disclose", "purpose": "promotion", "recipient": "ally"}, EXPRESS),
            ({"action": "disclose", "purpose": "promotion", "recipient": "adco", "categories": ["email"]}, EXPRESS),
            ({"action": "disclose", "purpose": "forum", "item": "post-1"}, PER_ITEM),
            ({"action": "disclose", "purpose": "promotion", "recipient": "adco", "categories": ["browser"]}, FREE),
        ),
    ),
    "whereverworks": Place(
        SHIPPED["whereverworks"],
        ("newsletter", "promotion", "support", "testimonial", "lead-followup"),
        {"seller": "vendor", "shop": "reseller", "dist": "distribution-partner"},
        ("name", "email"),
        (),
        (
            ({"action": "contact", "purpose": "newsletter"}, FREE),
            ({"action": "contact", "purpose": "promotion"}, FREE),
            ({"action": "contact", "purpose": "support"}, FREE),
            ({"action": "use", "purpose": "newsletter", "categories": ["email"]}, FREE),
            ({"action": "use", "purpose": "support", "categories": ["name", "email"]}, FREE),
            ({"action": "disclose", "purpose": "lead-followup", "recipient": "shop", "categories": ["email"]}, FREE),
            ({"action": "disclose", "purpose": "promotion", "recipient": "dist", "categories": ["email"]}, FREE),
            ({"action": "disclose", "purpose": "promotion", "recipient": "seller", "categories": ["email"]}, EXPRESS),
            ({"action": "disclose", "purpose": "testimonial", "item": "post-1"}, PER_ITEM | EXPRESS),
        ),
        agreements=("dist",),
    ),
}
PACKS = {name: load_pack(place.body) for name, place in PLACES.items()}
TOMLS = {name: place.pack for name, place in PLACES.items()}


def text(moment):
    return (START + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")


# -- histories ---------------------------------------------------------------------------------------------------------


@st.composite
def themes(draw, place):
    """A question that a history is mostly about, the yes that the pack's row needs, and what may be left out."""
    asked, need = draw(st.sampled_from(place.asks))
    body = dict(asked)
    if draw(st.integers(0, 3)) < (3 if need and "per" in need else 1):
        body["list"] = draw(st.sampled_from(place.lists))
    if body["action"] == "contact":
        body["channel"] = draw(st.sampled_from(["email", "email", "post", "sms", "web"]))
    elif "categories" not in body:
        body["categories"] = draw(st.sampled_from([["email"], ["name"], ["name", "email"]]))
    return body, need, {"channel", "categories"} - set(asked)


@st.composite
def consents(draw, place, theme, earlier):
    """A consent event: type and data."""
    kind = draw(st.sampled_from(["granted"] * 5 + ["refused", "withdrawn", "requested", "requested"]))
    data = {"purpose": theme["purpose"] if draw(rarely(5)) else draw(st.sampled_from(place.purposes))}
    if draw(rarely(4)) if "list" in theme else not draw(rarely(4)):
        data["list"] = draw(
            st.sampled_from([theme.get("list", place.lists[0]), place.lists[1], place.lists[0].upper()])
        )
    if not draw(rarely(6)):
        data |= draw(st.sampled_from(place.limits))
    if "item" in theme and draw(rarely(6)):
        data["item"] = draw(st.sampled_from(["post-1", "post-1", "post-2"]))
    if not draw(rarely(5)):
        data["expires_at"] = draw(st.sampled_from([1, 2, 4, 8, 30]))  # after it was said: `rows` adds that
    if kind == "granted":
        data["basis"] = draw(st.sampled_from(["express", "express", "express", "use"]))
        if earlier and draw(st.integers(0, 2)):
            data["answers"] = {"id": f"r{draw(st.sampled_from(earlier[-3:]))}"}
        if not draw(rarely(9)):
            data["policy_version"] = draw(st.sampled_from(["1", "2"]))
    elif kind != "requested" and not draw(rarely(4)) and ("channels" in data or "categories" in data):
        del data["purpose"]
    return f"consent.{kind}", data


def rarely(times):
    """False once in so many times."""
    return st.integers(0, times - 1).map(bool)


@st.composite
def optouts(draw, place, theme):
    """An opt-out or a lift: type and data."""
    scope = draw(st.sampled_from(place.scopes[theme["action"]]))
    data = {"scope": scope}
    values = {
        "purpose": (theme["purpose"], theme["purpose"], *place.purposes),
        "list": (*place.lists, place.lists[0].upper()),
        "channel": (theme.get("channel", "email"), "email", "post"),
        "recipient": (theme.get("recipient", "pal"), *place.recipients),
    }
    if scope in values:
        data[scope] = draw(st.sampled_from(values[scope]))
    if (signal := draw(st.sampled_from(SIGNALS))) is not None:
        data["signal"] = signal
    return draw(st.sampled_from(["optout.recorded", "optout.lifted"])), data


@st.composite
def rows(draw, place, theme, most=12):
    """Events in the order of telling, times in half days from START."""
    found, told, joined = [], 0, set()
    for _ in range(draw(st.integers(2, most))):
        told += draw(st.sampled_from([0, 0, 1, 1, 2, 4, 14]))
        if not draw(rarely(40)):
            told += TWO_YEARS
        kind = draw(st.integers(0, 19))
        subject = draw(st.sampled_from(NAMES[:1] * 3 + NAMES[1:]))
        actor = draw(st.sampled_from(ACTORS))
        if kind < 10:
            said = [n for n, row in enumerate(found) if row["type"] in ("consent.granted", "consent.requested")]
            type_name, data = draw(consents(place, theme, said))
            if theme.get("actor") and draw(st.booleans()):
                actor = theme["actor"]
        elif kind < 14:
            type_name, data = draw(optouts(place, theme))
        elif kind < 18:
            subject, data = "ann", {"personal": {"other": draw(st.sampled_from(["bob", "bob", "cat"]))}}
            apart = data["personal"]["other"] in joined and draw(rarely(3))
            (joined.discard if apart else joined.add)(data["personal"]["other"])
            type_name = "subject.unlinked" if apart else "subject.linked"
        elif kind == 18:
            type_name, data = "guardian.ended", {}
        elif any(row["type"] == "policy.published" for row in found) or draw(st.booleans()):
            type_name, data = "deletion.completed", draw(st.sampled_from([{}, {}, {"request": "never-made"}]))
        else:
            type_name, data = second(theme["purpose"])
        moves = [0, 0, 0, 0, 0, -1, -2, -5]
        happened = max(told + draw(st.sampled_from([*moves, 1, 2] if type_name in CLOSING else [*moves, *moves, 1])), 0)
        if "expires_at" in data:
            data = {**data, "expires_at": happened + data["expires_at"]}
        found.append(
            {"type": type_name, "subject": subject, "time": happened, "told": told, "data": data, "actor": actor}
        )
    return found


def second(purpose):
    """A second version, which brings a new use."""
    change = {"touches_stored_information": True, "material": True, "new_uses": [purpose]}
    digests = {"text_sha256": "00", "pack_sha256": "00"}
    return "policy.published", {"version": "2", **digests, "supersedes": "1", "change": change}


@st.composite
def questions(draw, place, theme, loose):
    """A question near the theme: with a field left out, or another field."""
    body = dict(theme)
    change = draw(st.integers(0, 7))
    if change < 2:
        body = {name: value for name, value in body.items() if name not in loose}
    elif change == 2 and body["action"] == "contact":
        body["channel"] = draw(st.sampled_from(["email", "post", "sms"]))
    elif change == 3:
        body["list"] = draw(st.sampled_from(place.lists))
    elif change == 4:
        body.setdefault("item", "post-1")
    return {**body, "subject": draw(st.sampled_from(["ann", "ann", "bob", "cat"]))}


@st.composite
def moments(draw, found):
    """(at, known_at) in microseconds from START, near something that happened, ends or begins to count."""
    last = max(row["told"] for row in found) * HALF_DAYS
    near = [last]
    for row in found:
        near += [row["time"] * HALF_DAYS, row["told"] * HALF_DAYS]
        near += [row["time"] * HALF_DAYS + days * DAY for days in draw(st.sampled_from([(1, 2), (3, 7), (31, 730)]))]
        if "expires_at" in row["data"]:
            near.append(row["data"]["expires_at"] * HALF_DAYS)
    at = last if draw(st.booleans()) else draw(st.sampled_from(near))
    at += draw(st.sampled_from([-SECOND, 0, 0, 0, 0, SECOND]))
    known = draw(st.sampled_from([last, last, last, *(row["told"] * HALF_DAYS for row in found)]))
    return max(at, 0), known


# -- both answers ------------------------------------------------------------------------------------------------------


def opening(place):
    """What happened long before: a version, recipients and their agreements, registrations, and what the pack needs."""
    told = [{"type": "policy.published", "data": {"version": "1", "text_sha256": "00", "pack_sha256": "00"}}]
    told += [
        {"type": "recipient.registered", "data": {"recipient": name, "class": kind}}
        for name, kind in place.recipients.items()
    ]
    told += [
        {"type": "recipient.agreement.signed", "data": {"recipient": name, "kind": "confidentiality"}}
        for name in place.agreements
    ]
    for name in NAMES:
        told.append({"type": "subject.registered", "subject": name, "data": {"kind": "customer"}})
        told += [{"type": type_name, "subject": name, "data": data} for type_name, data in place.opening]
    return [{**body, "time": -2000, "told": 0, "id": f"o{number}"} for number, body in enumerate(told)]


def both(controller, found, without=None):
    """A ledger that was told these rows (but one), and the events as the transcription reads them."""
    place = PLACES[controller]
    now = [0]
    ledger = memory_ledger(PACKS[controller], lambda: absolute(now[0]))
    events = []
    told = [{**row, "id": f"r{number}"} for number, row in enumerate(found) if number != without]
    for row in [*opening(place), *told]:
        now[0] = row["told"] * HALF_DAYS
        data = dict(row["data"])
        if "expires_at" in data:
            data["expires_at"] = text(data["expires_at"] * HALF_DAYS)
        body = {"specversion": "1.0", "source": "urn:t", "id": row["id"], "type": row["type"], "controller": controller}
        body |= {"time": text(row["time"] * HALF_DAYS), "data": data}
        if row["type"].split(".")[0] not in ("policy", "recipient"):
            body |= {"subject": row["subject"]}
        if "actor" in row:
            body |= {"actor": row["actor"]}
        (outcome,) = ledger.record([body], scenario=[absolute(now[0])])
        if outcome.kind == "accepted":
            events.append(as_read(row, outcome.position))
    return ledger, events


def absolute(moment):
    return round(START.timestamp()) * SECOND + moment


def as_read(row, position):
    data = dict(row["data"])
    if "expires_at" in data:
        data["expires_at"] = absolute(data["expires_at"] * HALF_DAYS)
    return {
        "type": row["type"],
        "subject": row.get("subject"),
        "actor": row.get("actor", "subject"),
        "source": "urn:t",
        "id": row["id"],
        "data": data,
        "time": absolute(row["time"] * HALF_DAYS),
        "recorded": absolute(row["told"] * HALF_DAYS),
        "position": position,
    }


def ask(ledger, controller, body, at, known):
    asked = {"controller": controller, **body, "at": text(at), "known_at": text(known)}
    return ledger.decide(asked)


def permitted(controller, events, body, need, at, known, *, keeps=False):
    asked = {**body, "at": absolute(at), "known_at": absolute(known)}
    word = word_on(events, TOMLS[controller], asked, need, keeps=keeps)
    return word != "no" if need is None else word == "yes"


def in_doubt(events, body):
    """Whether a row of the pack, or a sentence that can be read in two ways, may close more than the person's words."""
    return any(one["type"] == "deletion.completed" for one in events) or any(
        one["data"].get("change") for one in events
    )


CONTROLLERS = pytest.mark.parametrize("controller", sorted(PLACES))


LOOK = settings(
    max_examples=EXAMPLES or 60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate] if EXAMPLES else list(Phase),
    database=None,
)


@CONTROLLERS
@LOOK
@given(data=st.data())
def test_nothing_opens_what_the_transcription_keeps_closed(controller, data):
    place = PLACES[controller]
    theme, need, loose = data.draw(themes(place))
    found = data.draw(rows(place, theme))
    ledger, events = both(controller, found)
    for _ in range(4):
        body = data.draw(questions(place, theme, loose))
        at, known = data.draw(moments(found))
        expected = permitted(controller, events, body, need, at, known)
        event(f"permitted: {expected}")
        came = ask(ledger, controller, body, at, known)
        if came.outcome == "permit" or not in_doubt(events, body):
            told = (body, need, text(at), text(known), came.clauses, [(ref.type, ref.id) for ref in came.because])
            if came.outcome == "deny" and expected:
                expected = permitted(controller, events, body, need, at, known, keeps=True)
            assert (came.outcome == "permit") == expected, told


# -- what a question leaves out ----------------------------------------------------------------------------------------

OPEN_HOUSE = (
    HOUSE.split(b"[[clause]]")[0]
    + b"""[[clause]]
id = "H-1"
title = "Everything"
rule = "Everything is free until a no."
[[clause.permit]]
action = ["use", "disclose", "contact"]
"""
)
OPEN = load_pack(OPEN_HOUSE)
NOES = [
    *((type_name, {"purpose": "news"}) for type_name in ("consent.refused", "consent.withdrawn")),
    *((type_name, {"channels": ["email"]}) for type_name in ("consent.refused", "consent.withdrawn")),
    *((type_name, {"categories": ["email"]}) for type_name in ("consent.refused", "consent.withdrawn")),
    *(("optout.recorded", {"scope": scope}) for scope in ("all", "general", "advertising")),
    ("optout.recorded", {"scope": "purpose", "purpose": "news"}),
    ("optout.recorded", {"scope": "list", "list": "offers"}),
    ("optout.recorded", {"scope": "channel", "channel": "email"}),
    ("optout.recorded", {"scope": "recipient", "recipient": "pal"}),
]
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "purpose": st.sampled_from(["news", "ads"]),
        "categories": st.sampled_from([["email"], ["name", "email"], ["telephone"]]),
        "channels": st.sampled_from([["email"], ["post", "email"]]),
        "list": st.just("offers"),
        "recipients": st.just(["pal"]),
    },
)
FULL = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["contact", "use", "disclose"]),
        "purpose": st.sampled_from(["news", "ads", "calls"]),
        "categories": st.sampled_from([["email"], ["name", "email"], ["telephone"]]),
        "channel": st.sampled_from(["email", "post", "sms"]),
        "recipient": st.just("pal"),
    },
    optional={"list": st.just("offers")},
)


OF_OTHER_ACTIONS = {"contact": ("recipient",), "use": ("channel", "recipient"), "disclose": ("channel",)}


def house_told(*told):
    ledger = memory_ledger(OPEN, lambda: absolute(0))
    published = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
    opening_rows = [
        ("policy.published", published),
        ("recipient.registered", {"recipient": "pal", "class": "friend"}),
        ("subject.registered", {"kind": "customer"}),
    ]
    for number, (type_name, data) in enumerate([*opening_rows, *told]):
        body = {"specversion": "1.0", "source": "urn:t", "id": str(number), "type": type_name, "controller": "house"}
        body |= {"time": text(0), "data": data} | ({"subject": "ann"} if number > 1 else {})
        (outcome,) = ledger.record([body], scenario=[absolute(0)])
        assert outcome.kind == "accepted", outcome
    return ledger


@pytest.mark.parametrize(("type_name", "data"), NOES, ids=lambda one: one if isinstance(one, str) else "-".join(one))
@settings(max_examples=EXAMPLES or 15, deadline=None)
@given(limits=LIMITS, full=FULL)
def test_a_question_that_leaves_a_field_out_is_denied_where_one_that_names_it_is(type_name, data, limits, full):
    if type_name != "optout.recorded":
        data = {**limits, **data}
    assert wrongly_open(type_name, data, full) == []


def wrongly_open(type_name, data, full):
    """The fields without which a question is permitted, though one that names them is denied."""
    ledger, without = house_told((type_name, data)), house_told()
    full = {name: value for name, value in full.items() if name not in OF_OTHER_ACTIONS[full["action"]]}
    body = {"controller": "house", "subject": "ann", "at": text(0), **full}
    found = []
    for field in ("purpose", "categories", "channel"):
        if field == "categories" and "channel" in body:
            body["categories"] = list(CATEGORIES_BY_CHANNEL[body["channel"]])  # a message without is about these
        less = {name: value for name, value in body.items() if name != field}
        assert without.decide(body).outcome == without.decide(less).outcome == "permit"
        if ledger.decide(body).outcome == "deny" and ledger.decide(less).outcome == "permit":
            found.append(field)
    return found


# -- what an answer is because of --------------------------------------------------------------------------------------


NOT_NAMED = ("policy", "subject")  # versions are not the person's; what joins names is not named


def day_by_day(found):
    """The same events a day apart, each told when it happens: a reason names days."""
    moved = []
    for number, row in enumerate(found):
        now = 2 * number + 2
        data = row["data"]
        if "expires_at" in data:
            data = {**data, "expires_at": now + data["expires_at"] - row["time"]}
        moved.append({**row, "time": now, "told": now, "data": data})
    return moved


def answer(ledger, controller, body, at):
    came = ask(ledger, controller, body, at, at)
    return came.outcome, came.reason, {ref.id for ref in came.because}


@CONTROLLERS
@settings(LOOK, max_examples=EXAMPLES or 12)
@given(data=st.data())
def test_an_answer_hangs_on_the_entries_it_names_and_on_no_other(controller, data):
    place = PLACES[controller]
    theme, _, loose = data.draw(themes(place))
    found = [row for row in data.draw(rows(place, theme, most=6)) if row["type"].split(".")[0] not in NOT_NAMED]
    assume(found)
    found = day_by_day(found)
    body = data.draw(questions(place, theme, loose))
    at = (found[-1]["time"] + 1) * HALF_DAYS
    whole, events = both(controller, found)
    assume(len(events) == len(opening(place)) + len(found))  # none was refused
    outcome, reason, because = answer(whole, controller, body, at)
    for number, row in enumerate(found):
        less, _ = both(controller, found, without=number)
        changed = answer(less, controller, body, at)[:2] != (outcome, reason)
        assert changed == (f"r{number}" in because), (number, row, body, outcome, reason, because)


# -- what was found ----------------------------------------------------------------------------------------------------


def told(number, type_name, data, subject="ann", actor="subject"):
    return {"type": type_name, "subject": subject, "time": number, "told": number, "data": data, "actor": actor}


def linked(number, other, type_name="subject.linked"):
    return told(number, type_name, {"personal": {"other": other}})


def outcome(found, subject="ann", **asked):
    body = {"action": "contact", "purpose": "news", "channel": "email", "subject": subject, **asked}
    ledger, events = both("house", found)
    at = (found[-1]["time"] + 1) * HALF_DAYS
    came = ask(ledger, "house", body, at, at).outcome
    assert came == ("permit" if permitted("house", events, body, FREE, at, at) else "deny")
    return came


def test_a_parting_leaves_what_was_said_under_names_that_stay_joined():
    joined = [linked(0, "bob"), linked(1, "cat")]
    said = [told(2, "consent.refused", {"purpose": "news"}, "bob"), told(4, "consent.granted", YES_TO_NEWS)]
    apart = linked(6, "cat", "subject.unlinked")
    assert outcome([*joined, *said, apart]) == "permit"
    assert outcome([*joined, *said, apart], "bob") == "permit"
    assert outcome([*joined, *said, apart, linked(8, "bob", "subject.unlinked")], "bob") == "deny"


@pytest.mark.parametrize(("under", "came"), [("bob", "permit"), ("cat", "deny")])
def test_a_lift_leaves_with_the_name_under_which_it_was_said(under, came):
    joined = [linked(0, "bob"), linked(1, "cat")]
    no = {"scope": "purpose", "purpose": "news"}
    said = [told(2, "optout.recorded", no), told(4, "optout.lifted", no, under)]
    assert outcome([*joined, *said, linked(6, "cat", "subject.unlinked")]) == came


@pytest.mark.parametrize(("first", "came"), [("guardian.ended", "permit"), ("consent.granted", "deny")])
def test_at_equal_times_the_position_says_whether_a_guardian_ended_what_was_granted(first, came):
    yes = told(2, "consent.granted", {"purpose": "news", "basis": "express"}, actor="guardian")
    rows = [yes, told(2, "guardian.ended", {})]
    no = told(0, "consent.refused", {"purpose": "news"})
    assert outcome([no, *(rows if first == "consent.granted" else rows[::-1])]) == came


@pytest.mark.parametrize(("actor", "basis"), [("system", "express"), ("subject", "use")])
def test_an_import_or_a_use_takes_the_place_of_no_express_yes(actor, basis):
    for_a_day = {"purpose": "news", "basis": basis, "expires_at": 5}
    said = [told(0, "consent.refused", {"purpose": "news"}), told(2, "consent.granted", YES_TO_NEWS)]
    assert (
        outcome([*said, told(4, "consent.granted", for_a_day, actor=actor), told(6, "service.used", {"service": "x"})])
        == "permit"
    )


def test_the_list_of_changes_without_effect_names_only_changes():
    assert stale_equivalents() == []
