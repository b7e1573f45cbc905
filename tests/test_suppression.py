"""Suppression: what somebody opted out of comes back with the address, whatever happened to the person since."""

from __future__ import annotations

import orjson
import pytest
from conftest import NOW, PACKS, PERSON, accept, assert_whole, decoded, event, published, rows, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.maintenance import back_up, erase, restore
from consent_ledger.consumers.opening import memory_ledger, open_ledger
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.intake.suppression import normalise
from consent_ledger.ledger.log.entry import LIMIT_BYTES
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import parse_time

ADDRESS = "ann.suppressed@example.com"
HER = {"email": ADDRESS}
WW = {"controller": "whereverworks"}
ASK = {"action": "contact", "purpose": "newsletter", "channel": "email"}
EARLY, LATER, LATE = "2026-01-10T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-05T00:00:00Z"


def about(type_name, data=None, *, subject=PERSON, time=EARLY, email=None, **more):
    """An event about somebody of the opt-out house."""
    personal = {"email": email} if email else None
    return event(type_name, data, personal, subject=subject, time=time, **{**WW, **more})


def opted_out(ledger, data=None, *, type_name="optout.recorded", subject=PERSON, address=ADDRESS):
    accept(
        ledger,
        about("subject.registered", {"kind": "visitor"}, subject=subject, email=address),
        about(type_name, data or {"scope": "all"}, subject=subject, time="2026-01-11T08:13:22Z"),
    )


def deleted(ledger, subject=PERSON):
    accept(
        ledger,
        about("deletion.completed", {"request": None}, subject=subject, time="2026-02-01T08:13:22Z"),
    )


def comes_back(store, subject="web:new", *, address=ADDRESS, time=LATER):
    store.clock.set(max(store.clock.text, time))
    accept(store.ledger, about("subject.registered", {"kind": "visitor"}, subject=subject, time=time, email=address))


def answer(ledger, subject="web:new", at=LATE, **question):
    return ledger.decide({**WW, **ASK, "subject": subject, "at": at, **question})


def outcome(ledger, subject="web:new", **question):
    return answer(ledger, subject, **question).outcome


def carried(ledger):
    return [entry for entry in decoded(ledger) if entry.type == "suppression.carried"]


# -- it comes back -----------------------------------------------------------------------------------------------------


def test_without_an_erasure_an_address_brings_nothing(store):
    opted_out(store.ledger)
    comes_back(store)
    assert outcome(store.ledger) == "permit"


@pytest.mark.parametrize("how", ["erased", "deleted", "deleted and erased"])
def test_a_new_registration_of_the_address_stays_suppressed(store, how):
    opted_out(store.ledger)
    if "deleted" in how:
        deleted(store.ledger)
    if "erased" in how:
        erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    said = answer(store.ledger)
    assert (said.outcome, said.clauses) == ("deny", ["WW-OPT-2"])
    assert [ref.type for ref in said.because] == ["suppression.carried"]
    assert "carried over" in said.reason
    (entry,) = carried(store.ledger)
    assert entry.data.model_dump(exclude_none=True) == {"said": "optout.recorded", "scope": "all"}
    assert_whole(store.ledger)


@pytest.mark.parametrize(
    ("type_name", "data", "said"),
    [
        ("optout.recorded", {"scope": "all"}, "WW-OPT-2: opted out of all"),
        ("consent.refused", {"purpose": "newsletter", "list": None}, "WW-MKT-1: opted out"),
    ],
)
def test_the_answer_says_what_was_carried_over_and_when(store, type_name, data, said):
    opted_out(store.ledger, data, type_name=type_name)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert answer(store.ledger).reason == f"Denied by {said} before an erasure, carried over on {NOW[:10]}."


@pytest.mark.parametrize(
    ("type_name", "data", "question"),
    [
        ("optout.recorded", {"scope": "general"}, {}),
        ("optout.recorded", {"scope": "purpose", "purpose": "newsletter"}, {}),
        ("optout.recorded", {"scope": "list", "list": "news"}, {"list": "news"}),
        ("consent.refused", {"purpose": "newsletter", "list": "news"}, {"list": "news"}),
        ("consent.withdrawn", {"purpose": "newsletter", "list": None, "channels": ["email"]}, {}),
    ],
    ids=["general", "purpose", "list", "refusal", "withdrawal"],
)
def test_every_kind_of_no_comes_back_for_what_it_named_and_for_nothing_else(store, type_name, data, question):
    opted_out(store.ledger, data, type_name=type_name)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger, **question) == "deny"
    other = {"list": "other"} if question else {"purpose": "support"}
    assert outcome(store.ledger, **other) == "permit"


@pytest.mark.parametrize("spelling", ["ANN@Example.com", " ann@example.com ", "Ann Example <Ann@EXAMPLE.com>"])
def test_an_address_is_the_same_however_it_is_spelt(store, spelling):
    opted_out(store.ledger, address="ann@example.com")
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store, address=spelling)
    assert outcome(store.ledger) == "deny"


@pytest.mark.parametrize("how", ["erased", "deleted and erased"])
def test_a_name_that_is_an_address_is_one(store, how):
    """An app that knows people by their address, and says it nowhere else."""
    opted_out(store.ledger, subject="Ann@example.com", address=None)
    if "deleted" in how:
        deleted(store.ledger, "Ann@example.com")
    erase(store.ledger, {**WW, "subject": "Ann@example.com"})
    comes_back(store, "ann@example.com", address=None)
    comes_back(store, "web:new", address="ann@example.com")
    comes_back(store, "bob@example.com", address=None)
    assert [outcome(store.ledger, one) for one in ("ann@example.com", "web:new")] == ["deny", "deny"]
    assert outcome(store.ledger, "bob@example.com") == "permit"
    assert len(carried(store.ledger)) == 2
    assert_whole(store.ledger)


def test_another_address_and_another_controller_are_left_alone(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store, address="bob@example.com")
    assert outcome(store.ledger) == "permit"
    accept(store.ledger, event("subject.registered", personal=HER, subject="web:there", time=LATER))
    assert carried(store.ledger) == []


def test_the_address_can_come_with_any_event_and_to_somebody_known_before(store):
    opted_out(store.ledger)
    comes_back(store, address="other@example.com", time="2026-02-01T00:00:00Z")
    erase(store.ledger, {**WW, "subject": PERSON})
    assert outcome(store.ledger) == "permit"
    store.clock.set(LATER)
    accept(store.ledger, about("service.used", subject="web:new", time=LATER, email=ADDRESS))
    assert outcome(store.ledger) == "deny"
    assert outcome(store.ledger, at="2026-03-01T00:00:00Z") == "permit"


def test_what_was_lifted_or_replaced_does_not_come_back(store):
    opted_out(store.ledger)
    accept(store.ledger, about("optout.lifted", {"scope": "all"}, time="2026-01-12T00:00:00Z"))
    accept(store.ledger, about("consent.refused", {"list": None}, time="2026-01-12T00:00:00Z"))
    accept(store.ledger, about("consent.granted", {"list": None}, time="2026-01-13T00:00:00Z"))
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert carried(store.ledger) == []


def test_what_was_said_after_the_deletion_comes_back_too(store):
    accept(store.ledger, about("subject.registered", {"kind": "visitor"}, email=ADDRESS))
    deleted(store.ledger)
    accept(store.ledger, about("optout.recorded", {"scope": "all"}, time="2026-02-02T00:00:00Z"))
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger) == "deny"


@pytest.mark.parametrize(
    ("out", "lift"),
    [
        ({}, {"actor": "operator"}),
        ({}, {"actor": "system"}),
        ({"signal": "link"}, {"signal": "gpc"}),
        ({"signal": "gpc"}, {"signal": "nai"}),
        ({}, {"time": "2026-01-11T08:13:22Z"}),
    ],
    ids=["by an operator", "by a machine", "of another signal", "of yet another", "at the same time"],
)
def test_what_a_lift_does_not_undo_comes_back(store, out, lift):
    opted_out(store.ledger, {"scope": "all", **out})
    more = {name: value for name, value in lift.items() if name != "signal"}
    signal = {"signal": lift["signal"]} if "signal" in lift else {}
    accept(store.ledger, about("optout.lifted", {"scope": "all", **signal}, **{"time": "2026-01-20T00:00:00Z", **more}))
    assert outcome(store.ledger, PERSON, at="2026-01-25T00:00:00Z") == "deny"
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger) == "deny"


def test_a_no_said_while_joined_comes_back_with_the_address_of_each(store):
    joined = {"personal": {"other": "web:9"}}
    accept(
        store.ledger,
        about("subject.registered", {"kind": "visitor"}, email=ADDRESS),
        about("subject.registered", {"kind": "visitor"}, subject="web:9"),
        about("subject.linked", time="2026-01-11T00:00:00Z") | {"data": joined},
        about("optout.recorded", {"scope": "all"}, subject="web:9", time="2026-01-12T00:00:00Z"),
        about("subject.unlinked", time="2026-01-13T00:00:00Z") | {"data": joined},
    )
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger) == "deny"


def test_every_name_of_a_joined_person_is_suppressed_under_every_address(store):
    opted_out(store.ledger)
    accept(store.ledger, about("subject.linked", time="2026-01-12T00:00:00Z"))
    second = {"kind": "visitor"}
    accept(store.ledger, about("subject.registered", second, subject="web:ann", time=EARLY, email="a@example.org"))
    erase(store.ledger, {**WW, "subject": "web:ann"})
    comes_back(store, address="a@example.org")
    assert outcome(store.ledger) == "deny"


def in_turn(ledger, *said):
    """Words of one day after the other, each (subject, type, data)."""
    for day, (subject, type_name, data) in enumerate(said, 12):
        accept(ledger, about(type_name, data, subject=subject, time=f"2026-01-{day}T00:00:00Z"))


FOR_A_WHILE = {"purpose": "newsletter", "list": None, "expires_at": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize("type_name", ["consent.granted", "consent.refused"])
def test_a_no_comes_back_though_a_word_that_has_expired_came_after_it(store, type_name):
    opted_out(store.ledger, {"purpose": "newsletter", "list": None}, type_name="consent.refused")
    in_turn(store.ledger, (PERSON, type_name, FOR_A_WHILE))
    assert outcome(store.ledger, PERSON) == "deny"
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger) == "deny"


@pytest.mark.parametrize(
    "said",
    [["subject.unlinked", "optout.lifted", "subject.linked"], ["optout.lifted", "subject.unlinked", "subject.linked"]],
    ids=["while apart", "and undone by taking apart"],
)
def test_a_no_comes_back_though_a_name_once_joined_lifted_it(store, said):
    opted_out(store.ledger)
    accept(store.ledger, about("subject.registered", {"kind": "visitor"}, subject="web:ann"))
    in_turn(store.ledger, (PERSON, "subject.linked", None))
    for day, type_name in enumerate(said, 13):
        lifted = type_name == "optout.lifted"
        subject, data = ("web:ann", {"scope": "all"}) if lifted else (PERSON, None)
        accept(store.ledger, about(type_name, data, subject=subject, time=f"2026-01-{day}T00:00:00Z"))
    assert outcome(store.ledger, PERSON) == "deny"
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    assert outcome(store.ledger) == "deny"


_NAMED = st.fixed_dictionaries(
    {"purpose": st.sampled_from(["newsletter", "promotion"])},
    optional={
        "list": st.sampled_from(["news", "offers"]),
        "channels": st.sampled_from([["email"], ["post"], ["email", "sms"]]),
        "expires_at": st.sampled_from([f"2026-{month:02}-20T07:00:00Z" for month in (1, 3, 5)]),
    },
)
_SCOPES = [{"scope": "all"}, {"scope": "general"}, {"scope": "purpose", "purpose": "newsletter"}]
_WORDS = st.one_of(
    st.tuples(st.sampled_from(["consent.refused", "consent.withdrawn"]), _NAMED),
    st.tuples(
        st.just("consent.granted"),
        st.tuples(_NAMED, st.sampled_from(["express", "use"])).map(lambda both: {**both[0], "basis": both[1]}),
    ),
    st.tuples(st.sampled_from(["optout.recorded", "optout.lifted"]), st.sampled_from(_SCOPES)),
    st.tuples(st.sampled_from(["deletion.requested", "deletion.completed"]), st.just({"request": "r"})),
    st.tuples(st.sampled_from(["subject.linked", "subject.unlinked"]), st.sampled_from("abc")),
)
_LIVES = st.lists(
    st.tuples(st.integers(1, 31), st.sampled_from("aabc"), st.sampled_from([None, "system"]), _WORDS), max_size=12
)
_SAID = {"optout.recorded", "consent.refused", "consent.withdrawn", "deletion.requested"}


@settings(max_examples=60, deadline=None)
@given(life=_LIVES)
def test_whatever_was_said_in_whatever_order_no_denial_by_the_person_is_lost(life):
    ledger = memory_ledger(at=lambda: parse_time("2026-02-10T00:00:00Z"))
    ledger.app.add_pack(PACKS["whereverworks"])
    accept(ledger, published("whereverworks"))
    for name in "abc":
        address = f"{name}@example.com"
        accept(ledger, about("subject.registered", {"kind": "visitor"}, subject=name, time=EARLY, email=address))
    for day, name, actor, (type_name, data) in life:
        body = {**WW, "subject": name, "actor": actor, "time": f"2026-01-{day:02}T00:00:00Z"}
        if isinstance(data, dict):
            accept(ledger, event(type_name, None, None, **body) | {"data": data})
        elif data != name:
            accept(ledger, event(type_name, None, {"other": data}, **body))
    asked = [
        {**WW, **ASK, "purpose": purpose, "list": name, "channel": channel, "at": moment}
        for purpose in ("newsletter", "promotion", "patch")
        for name in ("news", "offers")
        for channel in ("email", "post")
        for moment in (LATE, "2026-04-01T00:00:00Z", "2026-06-01T00:00:00Z")
    ]
    before = [ledger.decide({**question, "subject": "a"}) for question in asked]
    erase(ledger, {**WW, "subject": "a"})
    body = about("subject.registered", {"kind": "visitor"}, subject="new", time=LATER, email="a@example.com")
    assert ledger.record([body], scenario=[parse_time(LATER)])[0].kind == "accepted"
    for question, was in zip(asked, before, strict=True):
        if was.outcome == "deny" and any(ref.type in _SAID for ref in was.because):
            assert outcome(ledger, "new", **question) == "deny", (question, was.reason)
    ledger.close()


# -- until when --------------------------------------------------------------------------------------------------------


def test_a_fresh_express_opt_in_opens_what_it_names(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    store.clock.set("2026-03-10T00:00:00Z")
    yes = {"purpose": "newsletter", "list": None}
    accept(store.ledger, about("consent.granted", yes, subject="web:new", time=LATER, email=ADDRESS))
    assert outcome(store.ledger) == "permit"
    assert outcome(store.ledger, purpose="promotion") == "deny"
    accept(store.ledger, about("service.used", subject="web:new", time=LATE, email=ADDRESS))
    assert outcome(store.ledger, at="2026-03-06T00:00:00Z") == "permit"  # it is not carried over again
    assert len(carried(store.ledger)) == 1


@pytest.mark.parametrize(
    ("time", "more"),
    [(EARLY, {}), (LATE, {"actor": "system"})],
    ids=["a yes of before the erasure", "a yes that a machine brought"],
)
def test_an_import_never_upgrades_anyone(store, time, more):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store, time=EARLY)
    store.clock.set("2026-03-10T00:00:00Z")
    yes = about("consent.granted", {"purpose": "newsletter", "list": None}, subject="web:new", time=time, **more)
    accept(store.ledger, yes)
    assert outcome(store.ledger, at="2026-03-11T00:00:00Z") == "deny"


def test_a_machine_that_said_no_does_not_say_yes(store):
    no = {"purpose": "newsletter", "list": None}
    opted_out(store.ledger, {"scope": "list", "list": "other"})
    accept(store.ledger, about("consent.refused", no, actor="system", time="2026-01-12T00:00:00Z"))
    accept(store.ledger, about("consent.granted", no, actor="system", time="2026-01-13T00:00:00Z"))
    assert outcome(store.ledger, PERSON) == "deny"


def test_what_was_opened_again_is_not_closed_by_the_address_under_a_joined_name(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    store.clock.set("2026-03-10T00:00:00Z")
    accept(store.ledger, about("subject.registered", {"kind": "visitor"}, subject="crm:9", time=LATER))
    joined = event("subject.linked", None, {"other": "crm:9"}, subject="web:new", time="2026-03-03T00:00:00Z", **WW)
    yes = about("consent.granted", {"list": None}, subject="web:new", time="2026-03-04T00:00:00Z")
    accept(store.ledger, joined, yes, about("service.used", subject="crm:9", time=LATE, email=ADDRESS))
    assert outcome(store.ledger, at="2026-03-06T00:00:00Z") == "permit"
    assert len(carried(store.ledger)) == 1


def test_a_yes_by_a_machine_counts_where_nothing_was_said_and_opens_nothing_that_was_closed(store):
    yes = about("consent.granted", {"purpose": "newsletter", "list": None}, actor="system", time=LATER)
    store.clock.set("2026-03-10T00:00:00Z")
    accept(store.ledger, event("consent.granted", actor="system", time=LATER))
    opt_in = {"action": "contact", "purpose": "newsletter", "list": "product-news", "channel": "email"}
    parature = {"controller": "parature", "subject": PERSON, "at": LATE, **opt_in}
    assert store.ledger.decide(parature).outcome == "permit"
    accept(store.ledger, about("optout.recorded", {"scope": "purpose", "purpose": "newsletter"}), yes)
    assert outcome(store.ledger, PERSON) == "deny"


def test_what_a_clause_closes_for_good_stays_closed_whatever_is_consented(store):
    accept(store.ledger, about("subject.registered", {"kind": "visitor"}, email=ADDRESS))
    accept(store.ledger, about("deletion.requested", time="2026-01-12T00:00:00Z"))
    accept(store.ledger, about("deletion.completed", time="2026-01-13T00:00:00Z"))
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    store.clock.set(LATE)
    accept(store.ledger, about("consent.granted", {"list": None}, subject="web:new", time=LATE, email=ADDRESS))
    said = answer(store.ledger, at="2026-03-06T00:00:00Z")
    assert (said.outcome, said.clauses) == ("deny", ["WW-OPT-4"])
    assert store.ledger.obligations({**WW, "subject": "web:new", "at": LATE}) == []


def test_a_request_closes_nothing_for_good_where_no_clause_says_so(store):
    accept(store.ledger, event("subject.registered", personal=HER))
    accept(store.ledger, event("deletion.requested", time="2026-01-12T00:00:00Z"))
    erase(store.ledger, {"controller": "parature", "subject": PERSON})
    accept(store.ledger, event("subject.registered", personal=HER, subject="web:new"))
    assert carried(store.ledger) == []


def test_who_is_erased_twice_is_still_suppressed(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store, "web:second")
    erase(store.ledger, {**WW, "subject": "web:second"})
    comes_back(store, "web:third", time="2026-03-03T00:00:00Z")
    assert outcome(store.ledger, "web:third") == "deny"


def test_who_had_the_address_before_another_erasure_is_bound_as_before_and_no_more(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    store.clock.set("2026-03-10T00:00:00Z")
    yes = {"purpose": "newsletter", "list": None}
    accept(store.ledger, about("consent.granted", yes, subject="web:new", time=LATER, email=ADDRESS))
    opted_out(store.ledger, subject="web:other")
    assert outcome(store.ledger) == "permit"
    erase(store.ledger, {**WW, "subject": "web:other"})
    store.clock.set("2026-03-12T00:00:00Z")
    accept(store.ledger, about("service.used", subject="web:new", time="2026-03-11T00:00:00Z", email=ADDRESS))
    assert outcome(store.ledger, at="2026-03-11T01:00:00Z") == "permit"  # that no never was about the address
    comes_back(store, "web:newest", time="2026-03-11T02:00:00Z")
    assert outcome(store.ledger, "web:newest", at="2026-03-11T03:00:00Z") == "deny"


def test_a_no_that_only_just_fitted_comes_back_in_parts_that_fit(store):
    data = {"purpose": "newsletter", "list": None, "recipients": ["r" * 199] * 310}
    (first,) = accept(store.ledger, about("consent.refused", data, id="i", source="s", email=ADDRESS))
    room = LIMIT_BYTES - len(stored(store.ledger)[first])
    erase(store.ledger, {**WW, "subject": PERSON})
    more = [f"{number:150}" for number in range(room // 153)]
    data["recipients"] += [*more, "x" * (room % 153 - 3 if room % 153 > 3 else 1)]
    data["recipients"][:310] = [f"{number:199}" for number in range(310)]
    (second,) = accept(store.ledger, about("consent.refused", data, id="j", source="s", email=ADDRESS, subject="crm:2"))
    assert len(stored(store.ledger)[second]) > LIMIT_BYTES - 4
    erase(store.ledger, {**WW, "subject": "crm:2"})
    comes_back(store)
    parts = [entry.data.recipients for entry in carried(store.ledger)]
    assert len(parts) > 2
    assert {one for part in parts for one in part} == {*data["recipients"], "r" * 199}
    assert_whole(store.ledger)


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_neither_store_nor_log_leads_from_the_new_person_to_the_erased_one(store):
    opted_out(store.ledger)
    (erased,) = rows(store.ledger, "SELECT DISTINCT person FROM aliases")
    erase(store.ledger, {**WW, "subject": PERSON})
    before = [orjson.loads(state) for state in stored(store.ledger)]
    times = {one[name] for one in before for name in ("time", "recorded_at")}
    comes_back(store)
    (entry,) = carried(store.ledger)
    assert entry.stream != erased
    body = orjson.loads(stored(store.ledger)[entry.position])
    assert erased not in orjson.dumps(body).decode()
    assert body["time"] not in times
    assert rows(store.ledger, "SELECT * FROM addresses") == []
    columns = rows(store.ledger, "SELECT name FROM pragma_table_info('suppressed')")
    assert columns == ["key", "said", "since"]


@pytest.mark.parametrize("how", ["erased", "deleted and erased"])
def test_not_even_who_knows_the_address_finds_the_erased_entries(store, how):
    """The hash can be made again by whoever has store and keys: nothing beside it may say which person it was of."""
    until = {"purpose": "newsletter", "list": None, "expires_at": "2027-01-11T08:13:22.5Z"}
    opted_out(store.ledger, until, type_name="consent.refused")
    if "deleted" in how:
        deleted(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    ((key, said, since),) = rows(store.ledger, "SELECT key, said, since FROM suppressed")
    entries = decoded(store.ledger)
    assert since not in {moment for entry in entries for moment in (entry.time, entry.recorded_at)}
    assert orjson.loads(said)["expires_at"] == "2027-01-12T00:00:00Z"
    journal = (store.keys / "erasures.ndjson").read_text()
    assert key.hex() not in journal
    assert store.ledger.app.keys.outlived() == [(key.hex(), said.decode(), since)]
    assert all(entry.stream not in (store.keys / "suppressed.ndjson").read_text() for entry in entries)


def test_the_order_of_what_outlives_the_erased_is_not_that_of_the_erasures(store):
    for number in range(20):
        opted_out(store.ledger, subject=f"crm:{number}", address=f"{number}@example.com")
        erase(store.ledger, {**WW, "subject": f"crm:{number}"})
    outlived = store.ledger.app.keys.outlived()
    assert len(outlived) == 20
    assert outlived == sorted(outlived)


def test_on_the_day_of_the_erasure_a_no_is_carried_once_and_a_later_yes_opens(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    for minute in range(3):
        store.clock.forward(60)
        text = store.clock.text
        body = {"list": None} if minute else {"kind": "visitor"}
        type_name = "consent.granted" if minute else "subject.registered"
        accept(store.ledger, about(type_name, body, subject="web:new", time=text, email=ADDRESS))
    assert outcome(store.ledger) == "permit"
    assert len(carried(store.ledger)) == 1


def test_a_restored_store_says_what_was_said_after_a_deletion_too(store, tmp_path):
    opted_out(store.ledger)
    deleted(store.ledger)
    accept(store.ledger, about("optout.lifted", {"scope": "all"}, time="2026-02-10T00:00:00Z"))
    back_up(store.ledger, tmp_path / "old.db")
    restore(tmp_path / "old.db", tmp_path / "again.db", store.keys)
    accept(store.ledger, about("service.used", time="2026-02-20T00:00:00Z", email=ADDRESS))
    assert outcome(store.ledger, PERSON) == "permit"
    again = open_ledger(f"sqlite:///{tmp_path / 'again.db'}", str(store.keys))
    recover(again.app, store.clock())
    accept(again, about("service.used", time="2026-02-20T00:00:00Z", email=ADDRESS))
    assert outcome(again, PERSON) == "permit"
    again.close()


@pytest.mark.parametrize("how", ["erased", "deleted", "deleted and erased"])
def test_a_backup_of_before_all_of_it_suppresses_again(store, tmp_path, how):
    back_up(store.ledger, tmp_path / "old.db")
    opted_out(store.ledger)
    if "deleted" in how:
        deleted(store.ledger)
    if "erased" in how:
        erase(store.ledger, {**WW, "subject": PERSON})
    restore(tmp_path / "old.db", tmp_path / "again.db", store.keys)
    store.clock.set(LATER)
    again = open_ledger(f"sqlite:///{tmp_path / 'again.db'}", str(store.keys))
    recover(again.app, store.clock())
    accept(again, about("subject.registered", {"kind": "visitor"}, subject="web:new", time=LATER, email=ADDRESS))
    assert outcome(again) == "deny"
    again.close()


def test_no_readable_address_is_kept(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    for suffix in ("", "-wal"):
        file = store.path.with_name(store.path.name + suffix)
        if file.exists():
            assert ADDRESS.split("@", maxsplit=1)[0].encode() not in file.read_bytes()
    assert rows(store.ledger, "SELECT count(*) FROM suppressed") == [1]


def test_deletion_leaves_the_hash_under_a_mask_until_erasure(store):
    opted_out(store.ledger)
    deleted(store.ledger)
    ((tag, masked),) = rows(store.ledger, "SELECT tag, masked FROM addresses")
    erase(store.ledger, {**WW, "subject": PERSON})
    (key,) = rows(store.ledger, "SELECT key FROM suppressed")
    assert len({tag, masked, key}) == 3
    assert all(one not in store.path.read_bytes() for one in (tag, masked))


def test_a_person_is_not_suppressed_by_what_is_still_theirs(store):
    opted_out(store.ledger)
    deleted(store.ledger)
    accept(store.ledger, about("service.used", time="2026-02-10T00:00:00Z", email=ADDRESS))
    assert carried(store.ledger) == []


def test_a_rebuilt_projection_answers_alike(store):
    opted_out(store.ledger)
    erase(store.ledger, {**WW, "subject": PERSON})
    comes_back(store)
    before = answer(store.ledger).to_dict()
    store.ledger.projector.catch_up()
    store.ledger.people.forget()
    assert answer(store.ledger).to_dict() == before


# -- one form for all spellings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        ("email", ["ann@example.com", "ANN@EXAMPLE.COM", "Ann <ann@Example.com.>", "\uff41nn@example.com"]),
        ("email", ["ann@b\u00fccher.example", "ann@B\u00dcCHER.example", "ann@xn--bcher-kva.example"]),
        ("telephone", ["+1 (650) 555-0199", "1-650-555-0199", "650 555 0199", "650.555.0199 ext. 12"]),
        ("telephone", ["+49 151 12345678", "0151 12345678", "0049-151/12345678"]),
        ("telephone", ["+47 22 12 34 56", "0047 22123456", "22 12 34 56", "tel:+4722123456", "(+47) 22123456 mobil"]),
        ("telephone", ["+49 30 123456", "030 123456", "030/123456 Durchwahl 12"]),
        ("telephone", ["+44 (0)20 7946 0958", "020 7946 0958", "+44 20 7946 0958"]),
        ("email", ["ann@example.com", "\ufeffann\u200b@example.com", "'ann@example.com'", '"ann"@example.com']),
        ("email", ["ann@example.com", "Ann Example ann@example.com", "mailto:ann@example.com?subject=no"]),
        ("text", ["12, Elm St.\nSpringfield", "12 elm st springfield", "12 ELM  ST., SPRINGFIELD"]),
    ],
)  # fmt: skip
def test_spellings_of_one_address(kind, spellings):
    assert len({normalise(kind, one) for one in spellings}) == 1
    assert normalise(kind, spellings[0])


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("email", "ann@example.com", "ann@example.org"),
        ("email", "ann+news@example.com", "ann@example.com"),  # two addresses to whoever delivers there
        ("telephone", "650 555 0199", "650 555 0198"),
        ("text", "12 Elm St", "1 2 Elm St"),
    ],
)
def test_different_addresses_stay_different(kind, one, other):
    assert normalise(kind, one) != normalise(kind, other)


@pytest.mark.parametrize("value", ["", "n/a", "-", "000 000 0000", "12", "+47", "1-800-FLOWERS"])
def test_what_is_no_telephone_number_is_no_address(value):
    assert normalise("telephone", value) == ""


@given(
    kind=st.sampled_from(["email", "telephone", "text"]),
    value=st.one_of(st.text(), st.text("+0123456789 -()x"), st.text("aB@.<>\"' \u200b")),
)
def test_any_text_has_a_form_and_the_form_is_its_own(kind, value):
    form = normalise(kind, value)
    assert normalise(kind, form) == form


def test_stored_forms_are_for_ever():
    """What these say is in stores: changing it loses opt-outs."""
    assert normalise("email", "Ann <ANN@Example.com>") == "ann@example.com"
    assert normalise("telephone", "+1 (650) 555-0199") == "505550199"
    assert normalise("text", "12, Elm  St.") == "12 elm st"


def test_the_shipped_packs_say_which_fields_are_addresses():
    for body in PACKS.values():
        pack = load_pack(body)
        assert {pack.personal_field(name).address for name in ("email", "Email")} == {"email"}
        assert pack.personal_field("Postal-Address").address == "text"
        assert pack.personal_field("telephone").address == "telephone"
