"""A no to messages binds the address, whoever else has it, until an express yes of their own."""

from __future__ import annotations

import sqlite3

import pytest
from conftest import PACKS, accept, assert_whole, decoded, event, published, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.health import derived
from consent_ledger.consumers.maintenance import back_up, erase, restore
from consent_ledger.consumers.opening import memory_ledger, open_ledger
from consent_ledger.ledger.errors import CorruptEntry
from consent_ledger.ledger.intake import application, batch
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import format_time, parse_time

WW = {"controller": "whereverworks"}
FAMILY = "family@example.com"
ASK = {"action": "contact", "purpose": "newsletter", "channel": "email"}
JAN = "2026-01-{:02}T00:00:00Z"


def said(type_name, subject, day, data=None, email=None, personal=None, **more):
    """An event about somebody of the opt-out house, on a day of January."""
    fields = personal or ({"email": email} if email else None)
    return event(type_name, data, fields, **{**WW, "subject": subject, "time": JAN.format(day), **more})


def registered(subject, day=2, email=FAMILY, **more):
    return said("subject.registered", subject, day, {"kind": "customer"}, email, **more)


def opted_out(subject, day, data=None, email=None, **more):
    return said("optout.recorded", subject, day, {"scope": "all", "signal": "link", **(data or {})}, email, **more)


def answer(ledger, subject, day=28, **question):
    return ledger.decide({**WW, **ASK, "subject": subject, "at": JAN.format(day), **question})


def outcome(ledger, subject, day=28, **question):
    return answer(ledger, subject, day, **question).outcome


# -- whom it binds -----------------------------------------------------------------------------------------------------


def test_who_has_the_same_address_is_under_the_no_for_marketing_by_it(memory):
    accept(memory, registered("crm:parent"), registered("crm:child", email="Family@Example.com"))
    (no,) = accept(memory, opted_out("crm:parent", 5))
    found = answer(memory, "crm:child")
    assert (found.outcome, found.clauses, [ref.position for ref in found.because]) == ("deny", ["WW-OPT-2"], [no])
    assert "somebody with the same address" in found.reason
    assert outcome(memory, "crm:child", 4) == "permit"
    assert outcome(memory, "crm:child", channel="post") == "permit"
    assert outcome(memory, "crm:child", purpose="support") == "permit"
    assert outcome(memory, "crm:child", action="use", channel=None) == "permit"


@pytest.mark.parametrize(
    ("data", "personal", "binds"),
    [
        ({"signal": "link"}, None, True),
        ({"signal": "mail"}, None, True),
        ({"signal": "complaint"}, None, True),
        ({"signal": "form"}, None, False),
        ({"signal": None}, None, False),
        ({"signal": "reply"}, None, False),  # that came by telephone
        ({"signal": None}, {"email": FAMILY}, True),
        ({"signal": "form"}, {"email": f"Ann <{FAMILY.upper()}>, other@example.com"}, True),
        ({"signal": "link"}, {"email": "other@example.com"}, False),  # it names another
        ({"signal": "link", "scope": "list", "list": "news"}, None, False),
        ({"signal": "link", "scope": "purpose", "purpose": "newsletter"}, None, True),
        ({"signal": "link", "scope": "channel", "channel": "email"}, None, True),
        ({"signal": "link", "scope": "channel", "channel": "post"}, None, False),
        ({"signal": "link", "scope": "advertising"}, None, False),
    ],
)
def test_a_no_binds_the_address_that_it_names_or_by_which_it_came(memory, data, personal, binds):
    accept(memory, registered("crm:parent"), registered("crm:child"))
    accept(memory, opted_out("crm:parent", 5, data, personal=personal))
    assert outcome(memory, "crm:child") == ("deny" if binds else "permit")
    if data.get("scope") == "list":
        assert outcome(memory, "crm:child", list="News") == "deny"


@pytest.mark.parametrize("type_name", ["consent.refused", "consent.withdrawn"])
@pytest.mark.parametrize("email", [None, FAMILY])
def test_a_refusal_binds_an_address_that_it_names(memory, type_name, email):
    accept(memory, registered("crm:parent"), registered("crm:child"))
    accept(memory, said(type_name, "crm:parent", 5, {"list": None}, email))
    assert outcome(memory, "crm:child") == ("deny" if email else "permit")


def test_a_stop_by_telephone_binds_the_number(memory):
    home = [{"telephone": one} for one in ("+1 (650) 555-0199", "+1-650-555-0199", "+44 650 555 0199")]
    accept(memory, *(registered(f"crm:{n}", personal=one) for n, one in enumerate(home)))
    accept(memory, opted_out("crm:0", 5, {"signal": "reply"}))
    assert [outcome(memory, f"crm:{n}", channel="sms") for n in range(3)] == ["deny", "deny", "permit"]
    assert outcome(memory, "crm:1", channel="email") == "permit"


def test_an_address_that_is_a_name_is_one(memory):
    accept(memory, registered("mailto:Family@Example.com", email=None), registered("crm:child"))
    accept(memory, opted_out("family@example.com", 5))
    assert outcome(memory, "FAMILY@example.com") == "deny"
    assert outcome(memory, "crm:child") == "deny"


def test_only_the_addresses_on_record_then_are_bound(memory):
    accept(memory, registered("crm:parent", 2, "old@example.com"), registered("crm:child"))
    accept(memory, opted_out("crm:parent", 5), said("service.used", "crm:parent", 7, email=FAMILY))
    assert outcome(memory, "crm:child") == "permit"
    accept(memory, registered("crm:other", email="old@example.com"))
    assert outcome(memory, "crm:other") == "deny"


def test_who_gets_the_address_later_is_under_the_no_from_then_on(memory):
    accept(memory, registered("crm:parent"), registered("crm:child", email=None), opted_out("crm:parent", 5))
    assert outcome(memory, "crm:child") == "permit"
    accept(memory, said("service.used", "crm:child", 10, email=FAMILY))
    assert [outcome(memory, "crm:child", day) for day in (9, 11)] == ["permit", "deny"]


def test_another_controller_and_a_pack_that_says_so_are_left_alone(memory, clock):
    accept(memory, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    body = PACKS["whereverworks"].replace(b"[categories]", b"addresses_bind = false\n\n[categories]", 1)
    assert not load_pack(body).addresses_bind
    ledger = memory_ledger(at=clock)
    ledger.app.any_pack = load_pack(body)
    accept(ledger, published("whereverworks"), registered("crm:parent"), registered("crm:child"))
    accept(ledger, opted_out("crm:parent", 5))
    assert [outcome(ledger, one) for one in ("crm:parent", "crm:child")] == ["deny", "permit"]
    ledger.close()


# -- until when --------------------------------------------------------------------------------------------------------

YES = {"purpose": "newsletter", "list": None}


@pytest.mark.parametrize(
    ("day", "more", "opens"),
    [
        (6, {}, True),
        (5, {}, False),  # at the same time the no counts
        (4, {}, False),
        (6, {"data": {**YES, "basis": "use"}}, False),
        (6, {"data": {**YES, "purpose": "promotion"}}, False),
        (6, {"data": {**YES, "channels": ["post"]}}, False),
        (6, {"actor": "system"}, False),
        (6, {"actor": "operator"}, False),
        (6, {"actor": "guardian"}, True),
    ],
)
def test_an_express_yes_of_their_own_opens_what_it_names(memory, day, more, opens):
    accept(memory, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    accept(memory, said("consent.granted", "crm:child", day, **{"data": YES, **more}))
    assert outcome(memory, "crm:child") == ("permit" if opens else "deny")
    assert outcome(memory, "crm:parent") == "deny"


def test_a_yes_of_before_the_address_was_theirs_opens_nothing(memory):
    accept(memory, registered("crm:parent"), registered("crm:child", email=None), opted_out("crm:parent", 5))
    accept(memory, said("consent.granted", "crm:child", 6, YES), said("service.used", "crm:child", 8, email=FAMILY))
    assert [outcome(memory, "crm:child", day) for day in (7, 9)] == ["permit", "deny"]
    accept(memory, said("consent.granted", "crm:child", 10, YES, FAMILY))
    assert outcome(memory, "crm:child") == "permit"


def test_a_no_that_was_lifted_or_answered_binds_no_more(memory):
    accept(memory, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    accept(memory, said("consent.granted", "crm:parent", 7, YES))
    assert outcome(memory, "crm:child", 6) == "deny"
    assert outcome(memory, "crm:child", 8) == "permit"
    assert outcome(memory, "crm:child", 8, purpose="promotion") == "deny"
    accept(memory, said("optout.lifted", "crm:parent", 9, {"scope": "all"}))
    assert outcome(memory, "crm:child", 10, purpose="promotion") == "permit"


def test_a_later_no_that_binds_nothing_hides_none_that_does(memory):
    accept(memory, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    accept(memory, opted_out("crm:parent", 8, {"signal": "form"}))
    assert outcome(memory, "crm:child") == "deny"
    accept(memory, said("consent.granted", "crm:child", 7, YES))
    assert outcome(memory, "crm:child") == "permit"


def test_an_end_of_what_others_said_is_a_change_by_time_alone(memory):
    accept(memory, registered("crm:parent"), registered("crm:child"))
    until = {"purpose": "newsletter", "list": None, "expires_at": JAN.format(20)}
    accept(memory, said("consent.refused", "crm:parent", 5, until, FAMILY))
    found = answer(memory, "crm:child", 10)
    assert (found.outcome, format_time(found.changes_at)) == ("deny", JAN.format(20))
    assert outcome(memory, "crm:child", 20) == "permit"


# -- names -------------------------------------------------------------------------------------------------------------


def test_joined_names_are_one_person(memory):
    accept(memory, registered("crm:parent"), registered("crm:child"), registered("web:parent", email=None))
    accept(memory, said("subject.linked", "web:parent", 4, personal={"other": "crm:parent"}))
    accept(memory, opted_out("web:parent", 5))
    assert outcome(memory, "crm:child") == "deny"
    accept(memory, said("subject.linked", "crm:child", 6, personal={"other": "web:child"}))
    assert outcome(memory, "web:child") == "deny"


def test_two_spellings_are_one_name_and_cannot_be_linked_with_each_other(memory):
    accept(memory, registered("mailto:Ann@Bücher.example", email=None))
    for spelling in ("ann@xn--bcher-kva.example", "Ann <ann@bu\u0308cher.example>", "ann@B\u00dcCHER.example."):
        assert outcome(memory, spelling) == "permit"
        (said_no,) = memory.record([said("subject.linked", "ann@bücher.example", 4, personal={"other": spelling})])
        assert (said_no.kind, said_no.field) == ("invalid", "other")
    assert len(rows(memory, "SELECT DISTINCT person FROM aliases")) == 1


def test_a_store_that_knew_names_as_they_were_written_knows_them_still(store):
    """Each of two persons keeps their own spelling, a third one is the older person's, and a no of one binds both."""
    vault, spellings = store.ledger.app.vault, ["Ann@example.com", "mailto:ann@example.com", "crm:Jose\u0301"]
    for number in range(3):
        accept(store.ledger, registered(f"old:{number}", email=None))
        store.clock.forward(1)
    persons = [store.ledger.app.person("whereverworks", f"old:{number}") for number in range(3)]
    key = vault._index_key
    with store.ledger.app.writing() as c:
        for person, spelling in zip(persons, spellings, strict=True):
            alias, writes = vault.exact_alias("whereverworks", spelling), []
            sealed = vault._seal(vault._existing_key(c, person), spelling.encode(), f"{person}:name".encode())
            writes = [alias, sealed, vault.bound_name(alias, person), vault.word(spelling), person]
            c.execute("UPDATE aliases SET alias=?, sealed=?, bound=?, word=? WHERE person=?", writes)
    store.shut()
    db = sqlite3.connect(store.path)
    for table in ("documents", "living", "shared", "noes", "beside"):
        db.execute(f"DROP TABLE {table}")
    db.execute("PRAGMA user_version=3")
    db.commit()
    db.close()
    ledger = store.reopen()
    assert key == ledger.app.vault._index_key
    known = [ledger.app.person("whereverworks", one) for one in (*spellings, "crm:Jos\u00e9", "ANN@example.com")]
    assert known == [*persons, persons[2], persons[0]]
    accept(ledger, opted_out("mailto:ann@example.com", 5), said("service.used", "Ann@example.com", 6))
    assert [outcome(ledger, one) for one in spellings] == ["deny", "deny", "permit"]
    assert_whole(ledger)
    erase(ledger, {**WW, "subject": "Ann@example.com"})
    assert ledger.app.person("whereverworks", "ANN@example.com") is None
    assert_whole(ledger)


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_no_answer_is_remembered_over_what_others_say(memory):
    accept(memory, registered("crm:child"))
    for number, word in enumerate((registered, opted_out, said)):
        before = ["permit", "permit", "deny"][number]
        assert [outcome(memory, "crm:child", channel=one) for one in ("email", "post")] == [before, "permit"]
        more = ("optout.lifted", "web:p", 9, {"scope": "all"}) if word is said else ("web:p", 5 + number)
        accept(memory, word(*more))
    assert outcome(memory, "crm:child") == "permit"


def test_no_answer_is_remembered_over_a_name_joined_far_away(memory):
    """The no comes under a name that is joined by way of another with the one that has the address."""
    accept(memory, registered("crm:child"), registered("crm:a"), *(registered(f"crm:{n}", email=None) for n in "bc"))
    accept(memory, said("subject.linked", "crm:a", 3, personal={"other": "crm:b"}))
    accept(memory, said("subject.linked", "crm:b", 3, personal={"other": "crm:c"}))
    assert outcome(memory, "crm:child") == "permit"
    accept(memory, opted_out("crm:c", 5))
    assert outcome(memory, "crm:child") == "deny"


def test_findings_are_judged_by_the_same_no_and_follow_it(memory):
    accept(memory, registered("crm:child"), registered("crm:parent"))
    accept(memory, said("message.sent", "crm:child", 9, {"list": None}))
    asked = {**WW, "subject": "crm:child", "at": JAN.format(28)}
    assert memory.findings(asked) == []
    accept(memory, opted_out("crm:parent", 5))
    (finding,) = memory.findings(asked)
    assert (finding["clause"], finding["event"], finding["known_then"]) == ("WW-OPT-2", "message.sent", False)
    accept(memory, said("consent.granted", "crm:child", 8, YES))
    assert memory.findings(asked) == []


def test_as_it_was_known_then(memory, clock):
    accept(memory, registered("crm:child"), registered("crm:parent"))
    known = clock.text
    clock.forward(60)
    accept(memory, opted_out("crm:parent", 5))
    assert outcome(memory, "crm:child", known_at=known) == "permit"
    assert outcome(memory, "crm:child") == "deny"


def test_nothing_is_looked_up_where_nobody_shares_anything(memory, monkeypatch):
    accept(memory, registered("crm:child"), registered("crm:parent", email="other@example.com"))
    monkeypatch.setattr(type(memory.people), "_read_ties", None)
    assert outcome(memory, "crm:child") == "permit"
    accept(memory, opted_out("crm:parent", 5))
    assert outcome(memory, "crm:parent") == "deny"


def test_an_address_made_to_lead_to_somebody_else_is_noticed(store):
    accept(store.ledger, registered("crm:child"), registered("crm:parent"), opted_out("crm:parent", 5))
    accept(store.ledger, registered("crm:other", email="other@example.com"))
    other = store.ledger.app.person("whereverworks", "crm:other")
    with store.ledger.app.writing() as c:
        c.execute("UPDATE living SET tag=(SELECT tag FROM shared) WHERE person=?", [other])
    store.ledger.people.forget()
    with pytest.raises(CorruptEntry, match="address was made to lead"):
        outcome(store.ledger, "crm:other")


def test_another_process_that_says_no_is_heard(store):
    accept(store.ledger, registered("crm:child"), registered("crm:parent"))
    other = store.open()
    assert outcome(store.ledger, "crm:child") == outcome(other, "crm:child") == "permit"
    accept(other, opted_out("crm:parent", 5))
    assert outcome(store.ledger, "crm:child") == "deny"
    accept(other, said("subject.linked", "crm:child", 6, personal={"other": "web:child"}))
    accept(other, said("optout.lifted", "crm:parent", 7, {"scope": "all"}))
    assert outcome(store.ledger, "web:child") == "permit"
    other.close()


# -- intake ------------------------------------------------------------------------------------------------------------


def test_addresses_are_read_before_the_write_lock_is_taken(memory, monkeypatch):
    accept(memory, registered("crm:first"))
    held = []
    read = application.named_in

    def seen(*args, **more):
        held.append(memory.app._lock._is_owned())
        return read(*args, **more)

    monkeypatch.setattr(application, "named_in", seen)
    monkeypatch.setattr(batch, "named_in", None)  # under the lock: only where a pack came in between
    accept(memory, registered("crm:parent"), registered("family@example.org"))
    assert held == [False, False]


def test_a_field_with_more_addresses_than_are_looked_at_is_invalid_with_its_name(memory):
    many = ",".join(f"{number}@example.com" for number in range(65))
    (found,) = memory.record([registered("crm:parent", email=many)])
    assert (found.kind, found.field) == ("invalid", "email")
    assert "more than 64" in found.reason
    accept(
        memory, registered("crm:parent", email=many.rpartition(",")[0]), registered("crm:63", email="63@example.com")
    )
    accept(memory, opted_out("crm:parent", 5))
    assert outcome(memory, "crm:63") == "deny"


def test_names_in_entries_are_compared_in_nfc_and_lists_without_case(memory):
    word = {"recipient": "caf\u00e9", "class": "partner"}
    accept(memory, event("recipient.registered", {"service": None, **word}, time=JAN.format(2), **WW))
    accept(memory, registered("crm:ann"))
    asked = {"action": "disclose", "purpose": "newsletter", "channel": None, "categories": ["email"]}
    given = {"recipient": "cafe\u0301", "categories": ["email"], "purpose": "newsletter"}
    accept(memory, said("disclosure.made", "crm:ann", 5, given))
    found = [answer(memory, "crm:ann", recipient=one, **asked) for one in ("caf\u00e9", "cafe\u0301")]
    assert found[0].clauses == found[1].clauses
    held = memory.recipients({**WW, "subject": "crm:ann", "at": JAN.format(28)})
    assert [one["recipient"] for one in held] == ["caf\u00e9"]
    accept(memory, said("optout.recorded", "crm:ann", 6, {"scope": "list", "list": "Caf\u00e9-News"}))
    assert [outcome(memory, "crm:ann", list=one) for one in ("CAFE\u0301-NEWS", "other")] == ["deny", "permit"]
    accept(memory, said("optout.lifted", "crm:ann", 7, {"scope": "list", "list": "CAF\u00c9-news"}))
    assert outcome(memory, "crm:ann", list="caf\u00e9-news") == "permit"


@settings(max_examples=80, deadline=None)
@given(
    told=st.lists(
        st.tuples(st.integers(2, 20), st.sampled_from(["a@x.example", "b@x.example", "c@x.example"])),
        min_size=1,
        max_size=9,
    ),
    bounced=st.sampled_from(["a@x.example", "b@x.example"]),
)
def test_a_bounce_stops_while_its_address_is_the_newest_in_whatever_order_they_are_told(told, bounced):
    ledger = memory_ledger(at=lambda: parse_time("2026-02-10T00:00:00Z"))
    ledger.app.add_pack(PACKS["whereverworks"])
    accept(ledger, published("whereverworks"))
    for number, (day, address) in enumerate(told):
        accept(ledger, said("service.used", "crm:ann", day, email=address))
        if number == len(told) // 2:
            accept(ledger, said("message.bounced", "crm:ann", 1, {"channel": "email", "permanent": True}, bounced))
    newest = max(enumerate(told), key=lambda one: (one[1][0], one[0]))[1][1]
    assert outcome(ledger, "crm:ann") == ("deny" if newest == bounced else "permit")
    ledger.close()


# -- erasure -----------------------------------------------------------------------------------------------------------


def limited(ledger):
    return [one for one in decoded(ledger) if one.type == "suppression.carried" and one.data.marketing]


def test_who_had_the_address_before_an_erasure_stays_bound_and_who_gets_it_later_is_under_all_of_it(store):
    ledger = store.ledger
    accept(ledger, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    accept(ledger, said("service.used", "crm:parent", 6, email="second@example.com"))
    before = [answer(ledger, "crm:child", purpose=one).outcome for one in ("newsletter", "promotion", "support")]
    erase(ledger, {**WW, "subject": "crm:parent"})
    (entry,) = limited(ledger)
    assert entry.data.model_dump(exclude_none=True) == {
        "said": "optout.recorded", "scope": "all", "marketing": True, "channels": ["email"],
    }  # fmt: skip
    assert [outcome(ledger, "crm:child", purpose=one) for one in ("newsletter", "promotion", "support")] == before
    assert "carried over" in answer(ledger, "crm:child").reason
    assert outcome(ledger, "crm:child", channel="sms") == "permit"
    accept(ledger, said("service.used", "crm:child", 20, email=FAMILY))  # it had that before: nothing more comes of it
    assert [outcome(ledger, "crm:child", purpose=one) for one in ("newsletter", "promotion", "support")] == before
    accept(ledger, registered("crm:new", 22), registered("crm:newer", 22, "second@example.com"))
    assert outcome(ledger, "crm:new", purpose="service-message") == "deny"
    assert outcome(ledger, "crm:newer") == "deny"
    assert len(limited(ledger)) == 1
    assert_whole(ledger)


@pytest.mark.parametrize("day", [4, 6, 9])
def test_a_yes_of_their_own_counts_as_it_did_before_the_erasure(store, day):
    ledger = store.ledger
    accept(ledger, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    accept(ledger, said("consent.granted", "crm:child", day, YES))
    asked = [(one, at) for one in ("newsletter", "promotion") for at in (5, 7, 10, 28)]
    before = [outcome(ledger, "crm:child", at, purpose=one) for one, at in asked if at != 5]
    erase(ledger, {**WW, "subject": "crm:parent"})
    assert [outcome(ledger, "crm:child", at, purpose=one) for one, at in asked if at != 5] == before
    accept(ledger, said("consent.granted", "crm:child", 20, YES))
    assert outcome(ledger, "crm:child") == "permit"


def test_what_bound_nobody_is_carried_to_nobody(store):
    ledger = store.ledger
    accept(ledger, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5, {"signal": "form"}))
    erase(ledger, {**WW, "subject": "crm:parent"})
    assert limited(ledger) == []
    accept(ledger, said("service.used", "crm:child", 20, email=FAMILY))
    assert outcome(ledger, "crm:child") == "permit"


def test_after_an_erasure_nothing_of_an_address_is_left_but_what_suppression_keeps(store):
    ledger, mine = store.ledger, "alone@example.com"
    accept(ledger, registered("crm:parent", email=f"{mine}, {FAMILY}"), registered("crm:child"))
    accept(
        ledger,
        opted_out("crm:parent", 5),
        said("message.bounced", "crm:parent", 6, {"channel": "email", "permanent": True}, mine),
    )
    tags = set(rows(ledger, "SELECT tag FROM living"))
    bound = rows(ledger, "SELECT bound FROM living WHERE person<>?", ledger.app.person("whereverworks", "crm:child"))
    child = set(rows(ledger, "SELECT tag FROM living WHERE person=?", ledger.app.person("whereverworks", "crm:child")))
    erase(ledger, {**WW, "subject": "crm:parent"})
    assert set(rows(ledger, "SELECT tag FROM living")) == child
    assert rows(ledger, "SELECT * FROM shared") == rows(ledger, "SELECT * FROM noes") == []
    assert len(rows(ledger, "SELECT DISTINCT key FROM suppressed")) == 2
    raw = store.path.read_bytes()
    assert all(one not in raw for one in [*(tags - child), *bound])
    assert_whole(ledger)


def test_a_copy_of_before_keeps_them_bound_too(store, tmp_path):
    ledger = store.ledger
    accept(ledger, registered("crm:parent"), registered("crm:child"), opted_out("crm:parent", 5))
    back_up(ledger, tmp_path / "old.db")
    erase(ledger, {**WW, "subject": "crm:parent"})
    restore(tmp_path / "old.db", tmp_path / "again.db", store.keys)
    again = open_ledger(f"sqlite:///{tmp_path / 'again.db'}", str(store.keys))
    recover(again.app, store.clock())
    assert outcome(again, "crm:child") == "deny"
    assert len(limited(again)) == 1
    assert rows(again, "SELECT name FROM meta WHERE name GLOB 'uncarried:*'") == []
    assert derived(again.app) == []
    again.close()


@pytest.mark.parametrize(
    ("type_name", "data", "asked"),
    [
        ("optout.recorded", {"scope": "channel", "channel": "email"}, {}),
        ("optout.recorded", {"scope": "channel", "channel": "sms"}, {"channel": "sms"}),
        ("consent.refused", {"purpose": None, "list": None, "channels": ["email"]}, {}),
        ("consent.withdrawn", {"purpose": None, "list": None, "channels": ["post", "email"]}, {}),
    ],
)
def test_a_no_to_a_channel_survives_erasure_like_every_other(store, type_name, data, asked):
    accept(store.ledger, registered("crm:parent"), said(type_name, "crm:parent", 5, data))
    erase(store.ledger, {**WW, "subject": "crm:parent"})
    accept(store.ledger, registered("crm:new", 10))
    assert outcome(store.ledger, "crm:new", **asked) == "deny"
    assert outcome(store.ledger, "crm:new", channel="telephone") == "permit"


# -- whatever comes ----------------------------------------------------------------------------------------------------

_WHO = st.sampled_from(["a", "b", "c"])
_DAY = st.integers(2, 27)
_WORDS = st.one_of(
    st.tuples(st.just("optout.recorded"), st.fixed_dictionaries(
        {"scope": st.just("all"), "signal": st.sampled_from(["link", "mail", "form"])}
    )),
    st.tuples(st.just("optout.lifted"), st.just({"scope": "all"})),
    st.tuples(st.just("consent.granted"), st.just(YES)),
    st.tuples(st.just("service.used"), st.none()),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(life=st.lists(st.tuples(_WHO, _DAY, _WORDS, st.sampled_from([None, FAMILY, "b@example.com"])), max_size=14))
def test_nobody_is_permitted_what_another_of_the_same_address_said_no_to(life):
    """By a slower rule, over the events themselves: a no that binds, neither lifted nor answered by who said it."""
    ledger = memory_ledger(at=lambda: parse_time("2026-02-10T00:00:00Z"))
    ledger.app.add_pack(PACKS["whereverworks"])
    accept(ledger, published("whereverworks"), *(registered(one, 1, email=f"{one}@own.example") for one in "abc"))
    happened = []
    for who, day, (type_name, data), email in life:
        accept(ledger, said(type_name, who, day, data, email))
        happened.append((day, len(happened), who, type_name, data or {}, email))
    happened.sort()
    for asked in "abc":
        if outcome(ledger, asked) == "permit":
            assert not _binding_no(happened, asked), (asked, happened)
    ledger.close()


def _binding_no(happened, asked):
    """Whether a no of somebody else binds an address of the person asked about, who has not answered it."""
    since = {}  # (who, address) -> the first day
    for day, _, who, _, _, email in happened:
        if email:
            since.setdefault((who, email), day)
    for day, number, who, type_name, data, email in happened:
        if type_name != "optout.recorded" or who == asked or _undone(happened, who, day, number):
            continue
        before = {one[5] for one in happened if one[2] == who and one[5] and one[:2] <= (day, number)}
        bound = {email} if email else before if data["signal"] != "form" else set()
        for address in bound:
            start = since.get((asked, address))
            if start is not None and not any(yes > day and yes >= start for yes in _yeses(happened, asked)):
                return True
    return False


def _yeses(happened, who):
    return [one[0] for one in happened if one[2] == who and one[3] == "consent.granted"]


def _undone(happened, who, day, number):
    lifted = any(one[2] == who and one[3] == "optout.lifted" and one[:2] > (day, number) for one in happened)
    return lifted or any(yes > day for yes in _yeses(happened, who))
