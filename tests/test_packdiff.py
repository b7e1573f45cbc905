"""Rehearsing a change of policy: who is answered differently, since when, and that nobody is overlooked."""

from __future__ import annotations

import itertools
import os
import random

import pytest
from conftest import PACKS, accept, event, published
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_properties import at as minute
from test_properties import given_ledger, histories, tell

from consent_ledger.consumers import opening
from consent_ledger.consumers.packs import diff
from consent_ledger.ledger.errors import InvalidQuestion, PackError
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.times import DAY, FOREVER, format_time, parse_time
from consent_ledger.projections.replay.difference import difference
from consent_ledger.projections.replay.rehearsal import UNKNOWN, Rehearsal

HOUSE = """
format = 1
controller = "house"
title = "The house"
purposes = ["news", "tips", "orders"]
marketing = ["news", "tips"]
classes = ["carrier"]
[categories]
personal = ["name", "email"]
anonymous = ["page-views"]
[[clause]]
id = "H-NEWS"
title = "News"
rule = "News until the person says no."
[[clause.permit]]
action = ["contact"]
purpose = ["news"]
[[clause]]
id = "H-TIPS"
title = "Tips"
rule = "Tips to those who asked for them."
[[clause.permit]]
action = ["contact"]
purpose = ["tips"]
needs = [{ need = "opt-in" }]
[[clause]]
id = "H-CARRIER"
title = "Carriers"
rule = "A carrier gets what it was named for."
[clause.interpretation]
text = "Whether a carrier needs an agreement is open."
reading = "none"
[clause.interpretation.readings]
none = "It needs none."
agreement = "It needs one."
[[clause.permit]]
reading = "none"
action = ["disclose"]
class = ["carrier"]
purpose = ["orders"]
[[clause.permit]]
reading = "agreement"
action = ["disclose"]
class = ["carrier"]
purpose = ["orders"]
needs = [{ need = "recipient-agreement", kind = "confidentiality" }]
"""
OPT_IN = HOUSE.replace('purpose = ["news"]\n', 'purpose = ["news"]\nneeds = [{ need = "opt-in" }]\n')
LAPSE = HOUSE + "[[clause.lapse]]\nafter_days = 30\n"
FRAME = {"controller": "house"}
DAYS = {n: f"2026-01-{n:02d}T00:00:00Z" for n in range(1, 32)}
END = parse_time("2026-03-01T00:00:00Z")


def pack(text, **readings):
    return load_pack(text.encode(), {name.replace("_", "-"): one for name, one in readings.items()})


class House:
    """A ledger in memory of which the old pack is in force, and what a rehearsal over it finds."""

    def __init__(self, old=HOUSE):
        self.old = pack(old)
        self.now = [END]
        self.ledger = opening.memory_ledger(self.old, lambda: self.now[0])
        data = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
        self.tell("policy.published", 1, None, data)

    def tell(self, type_name, day, subject="ann", data=None, *, recorded=None, **more):
        body = event(type_name, data, subject=subject, time=DAYS[day], **FRAME, **more)
        (outcome,) = self.ledger.record([body], scenario=[parse_time(DAYS[recorded or day])])
        assert outcome.kind == "accepted", outcome

    def person(self, subject):
        return self.ledger.app.person("house", subject)

    def compare(self, new, *, at=END, known_at=FOREVER, **more):
        after = new if isinstance(new, Pack) else pack(new)
        return list(Rehearsal(self.ledger, self.old, after, at=at, known_at=known_at, **more).run())

    def changes(self, new, purpose="news", **more):
        """{subject or identifier: (old, new, since)} of what is changed for one purpose; all channels must agree."""
        found = {}
        for compared in self.compare(new, **more):
            said = {
                (one.old.outcome, one.new.outcome, format_time(one.since))
                for one in compared.changes
                if one.asking.purpose == purpose
            }
            if said:
                (found[compared.person],) = said
        return found


# -- cases made by hand ------------------------------------------------------------------------------------------------


def test_from_opt_out_to_opt_in_exactly_those_without_an_opt_in_lose_since_they_are_known():
    house = House()
    house.tell("subject.registered", 2, "silent")
    house.tell("subject.registered", 3, "yes")
    house.tell("consent.granted", 3, "yes", {"purpose": "news", "list": None})
    house.tell("subject.registered", 4, "no")
    house.tell("optout.recorded", 5, "no", {"scope": "all"})
    house.tell("consent.granted", 6, "expired", {"purpose": "news", "list": None, "expires_at": DAYS[20]})
    assert house.changes(OPT_IN) == {
        house.person("silent"): ("permit", "deny", DAYS[2]),
        house.person("expired"): ("permit", "deny", DAYS[20]),
    }


def test_who_lifts_the_opt_out_loses_again_since_then():
    house = House()
    house.tell("subject.registered", 2)
    house.tell("optout.recorded", 5, data={"scope": "all"})
    assert house.changes(OPT_IN) == {}
    house.tell("optout.lifted", 9, data={"scope": "all"})
    assert house.changes(OPT_IN) == {house.person("ann"): ("permit", "deny", DAYS[9])}
    assert house.changes(OPT_IN, at=parse_time(DAYS[4])) == {house.person("ann"): ("permit", "deny", DAYS[2])}


def test_a_lapse_takes_a_yes_since_the_moment_it_lapses():
    house = House()
    house.tell("consent.granted", 1, data={"purpose": "tips", "list": None})
    found = house.changes(LAPSE, "tips")
    assert found == {house.person("ann"): ("permit", "deny", DAYS[31])}
    assert house.changes(LAPSE, "tips", at=parse_time(DAYS[31]) - 1) == {}
    assert house.changes(LAPSE, "tips", at=parse_time(DAYS[31])) == found


def test_a_new_purpose_and_a_dropped_category_are_unknown_to_the_pack_without_them():
    house = House()
    house.tell("service.used", 2)
    more = HOUSE.replace('"orders"]\nmark', '"orders", "maps"]\nmark').replace(
        'purpose = ["news"]', 'purpose = ["news", "maps"]'
    )
    (found,) = house.compare(more)
    assert {(one.asking.action, one.asking.purpose) for one in found.changes} == {
        ("contact", "maps"), ("use", "maps"), ("disclose", "maps")
    }  # fmt: skip
    assert {one.old.outcome for one in found.changes} == {UNKNOWN}
    assert house.changes(more, "maps", at=parse_time(DAYS[1])) == {}
    (less,) = house.compare(HOUSE.replace('"page-views"', '"clicks"'))
    assert {(one.old.outcome, one.new.outcome, *one.asking.categories) for one in less.changes} == {
        ("deny", UNKNOWN, "page-views"), (UNKNOWN, "deny", "clicks")
    }  # fmt: skip


def test_a_class_that_only_one_pack_knows():
    house = House()
    house.tell("recipient.registered", 2, None, {"recipient": "van", "class": "carrier", "service": None})
    house.tell("service.used", 3)
    gone = HOUSE.replace('"carrier"]\n[cat', '"porter"]\n[cat').replace('class = ["carrier"]', 'class = ["porter"]')
    assert house.changes(gone, "orders") == {house.person("ann"): ("permit", UNKNOWN, DAYS[3])}


def test_another_reading_of_the_same_pack():
    house = House()
    house.tell("recipient.registered", 2, None, {"recipient": "van", "class": "carrier", "service": None})
    house.tell("service.used", 3)
    other = pack(HOUSE, H_CARRIER="agreement")
    assert house.changes(other, "orders") == {house.person("ann"): ("permit", "deny", DAYS[3])}
    signed = {"recipient": "van", "kind": "confidentiality"}
    house.tell("recipient.agreement.signed", 6, None, signed)
    assert house.changes(other, "orders") == {}
    house.tell("recipient.agreement.ended", 9, None, signed)
    assert house.changes(other, "orders") == {house.person("ann"): ("permit", "deny", DAYS[9])}


def test_nothing_changed_is_nothing_and_words_alone_change_nothing():
    house = House()
    house.tell("service.used", 2)
    for new in (HOUSE, HOUSE.replace("News until", "Some news until").replace('"Tips"', '"Hints"')):
        (found,) = house.compare(new)
        assert (found.changes, found.clauses) == ([], [])
        assert found.questions > 0
        assert not any(difference(house.old, pack(new)).rows.values())


def test_a_row_moved_to_another_clause_is_the_same_answer_by_other_clauses():
    house = House()
    house.tell("service.used", 2)
    (found,) = house.compare(HOUSE.replace('id = "H-NEWS"', 'id = "H-LETTER"'))
    assert found.changes == []
    assert {(one.old.clauses, one.new.clauses) for one in found.clauses if one.asking.purpose == "news"} == {
        (("H-NEWS",), ("H-LETTER",))
    }


def test_late_news_counts_from_when_it_happened_once_it_is_known():
    house = House()
    house.tell("subject.registered", 2)
    house.tell("consent.granted", 4, data={"purpose": "news", "list": None}, recorded=4)
    house.tell("consent.withdrawn", 6, data={"purpose": "news", "list": None}, recorded=20)
    who = house.person("ann")
    assert house.changes(OPT_IN) == {}  # both say no
    known = parse_time(DAYS[19])
    assert house.changes(OPT_IN, known_at=known) == {}  # both say yes
    assert house.changes(OPT_IN, known_at=parse_time(DAYS[3])) == {who: ("permit", "deny", DAYS[2])}
    house.tell("consent.granted", 5, "bob", {"purpose": "news", "list": None, "expires_at": DAYS[9]}, recorded=21)
    assert house.changes(OPT_IN, known_at=known) == {}
    assert house.changes(OPT_IN) == {house.person("bob"): ("permit", "deny", DAYS[9])}


def test_joined_names_are_one_person_and_employees_see_their_customer():
    house = House()
    house.tell("service.used", 2, "one")
    house.tell("service.used", 3, "two")
    assert len(house.compare(OPT_IN)) == 2
    house.tell("subject.linked", 5, "one", personal={"other": "two"})
    (both,) = house.compare(OPT_IN)
    assert both.person == min(house.person("one"), house.person("two"))
    assert {format_time(one.since) for one in both.changes} == {
        DAYS[2] if both.person == house.person("one") else DAYS[3]
    }
    house.tell("consent.granted", 7, "two", {"purpose": "news", "list": None})
    assert house.changes(OPT_IN) == {}

    term = HOUSE.replace('purpose = ["news"]\n', 'purpose = ["news"]\nneeds = [{ need = "service-agreement" }]\n')
    house.tell("subject.registered", 8, "worker", {"kind": "employee", "of": "firm"})
    house.tell("service.used", 8, "firm")
    assert house.changes(term)[house.person("worker")] == ("permit", "deny", DAYS[8])
    house.tell("agreement.started", 9, "firm", {"service": "desk"})
    house.tell("agreement.ended", 12, "firm", {"service": "desk"})
    assert house.changes(term)[house.person("worker")] == ("permit", "deny", DAYS[12])


def test_what_came_in_a_processors_role_counts_for_nothing():
    house = House()
    house.tell("service.used", 2, "theirs", role="processor", of="library")
    assert house.compare(OPT_IN) == []
    house.tell("message.sent", 3, "theirs", {"purpose": "news", "list": "secret"}, role="processor", of="library")
    house.tell("service.used", 5, "theirs")
    assert house.changes(OPT_IN) == {house.person("theirs"): ("permit", "deny", DAYS[5])}
    (found,) = house.compare(OPT_IN)
    assert "secret" not in {one.asking.list for one in found.changes}


def test_lists_and_items_of_the_record_are_asked_about():
    house = House()
    house.tell("message.sent", 3, data={"purpose": "news", "list": "weekly"})
    house.tell("optout.recorded", 4, data={"scope": "list", "list": "daily"})
    house.tell("consent.granted", 5, data={"purpose": "news", "list": None, "item": "thread-1"})
    (found,) = house.compare(OPT_IN)
    asked = {(one.asking.list, one.asking.item) for one in found.changes if one.asking.action == "contact"}
    assert asked == {(None, None), ("weekly", None)}  # of daily both say no, of the item both say yes


def clause(name, rows):
    return f'[[clause]]\nid = "{name}"\ntitle = "{name}"\nrule = "{name}"\n{rows}\n'


TERM = '[[clause.gate]]\naction = ["contact"]\nneeds = [{ need = "service-agreement" }]'
YES = '[[clause.gate]]\naction = ["contact"]\nneeds = [{ need = "opt-in" }]'
LAW = '[[clause.permit]]\naction = ["disclose"]\npurpose = ["orders"]\nlaw = true\n'
LISTED, ENDED = (LAW + f'needs = [{{ need = "{need}" }}]' for need in ("categories-listed", "service-agreement"))
LATER = '[[clause.objection]]\nscope = "recipient"\neffective_in_business_days = 1'
MARKETING = '[[clause.objection]]\nscope = "all"\nmarketing_only = true'
HOLIDAY = '[calendar]\nholidays = [2026-01-06]\n[[clause]]\nid = "H-NEWS"'
OTHERS = {
    "order of gates": (clause("G", TERM) + clause("H", YES), clause("H", YES) + clause("G", TERM), None),
    "order of law": (clause("L", LISTED) + clause("M", ENDED), clause("M", ENDED) + clause("L", LISTED), None),
    "a delay reaches disclosures": ("", clause("O", LATER), {"scope": "recipient", "recipient": "van"}),
    "an objection": (clause("O", MARKETING), "", {"scope": "all"}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_differs_beside_single_rows_is_not_overlooked(what):
    old, new, said = OTHERS[what]
    not_overlooked(HOUSE + old, HOUSE + new, said)


@pytest.mark.parametrize(
    ("rows", "old", "new", "said"),
    [
        (LATER, '[[clause]]\nid = "H-NEWS"', HOLIDAY, {"scope": "recipient", "recipient": "van"}),
        (MARKETING, 'marketing = ["news", "tips"]', 'marketing = ["tips"]', {"scope": "all"}),
        (
            "",
            "[categories]",
            "advertising_purposes = ['news']\n[categories]".replace("'", '"'),
            {"scope": "advertising"},
        ),
        (
            "",
            "[categories]",
            "advertising_classes = ['carrier']\n[categories]".replace("'", '"'),
            {"scope": "advertising"},
        ),
    ],
    ids=["holidays", "marketing", "advertising purposes", "advertising classes"],
)
def test_settings_of_a_pack_that_differ_are_not_overlooked(rows, old, new, said):
    text = HOUSE + (clause("O", rows) if rows else "")
    assert old in text
    not_overlooked(text, text.replace(old, new, 1), said)


def not_overlooked(old, new, said):
    """Somebody's answer or its clauses differ, at a moment a day after an opt-out, and pruning keeps it."""
    house = House(old)
    house.tell("recipient.registered", 2, None, {"recipient": "van", "class": "carrier", "service": None})
    house.tell("information.collected", 3)
    if said:
        house.tell("optout.recorded", 5, data=said)
    for day in (6, 7):
        ways = [plain(house.compare(new, at=parse_time(DAYS[day]), prune=prune)) for prune in (True, False)]
        assert ways[0] == ways[1]
        if any(changes or clauses for _, _, changes, clauses in ways[1]):
            return
    raise AssertionError("nothing differs at all")


YOUNG = '[[clause.forbid]]\naction = ["contact"]\nwhen = [{ need = "minor", under = 16 }]'
GONE = '[[clause.duty]]\nkind = "deletion"\n[[clause.forbid]]\naction = ["use"]\nwhen = [{ need = "deleted" }]\n'
GONE += '[[clause.permit]]\naction = ["use"]\n[[clause.keep]]\ncategories = ["email"]\nfor_days = 5\npurpose = '
ABROAD = '[[clause.permit]]\naction = ["use"]\npurpose = ["orders"]\ncountry_in = ["near"]'


def test_ages_that_grow_are_not_overlooked():
    old = HOUSE + clause("Y", YOUNG)
    new = old.replace("[categories]", "[ages]\ngrow = true\n[categories]", 1)
    for before, after in ((old, new), (new, old)):
        house = House(before)
        born = parse_time("2024-01-20T00:00:00Z")
        house.ledger.record(
            [{**event("subject.registered", {"kind": "visitor", "age": 14}, subject="ann", **FRAME),
              "time": format_time(born)}], scenario=[born],
        )  # fmt: skip
        outcomes = ("deny", "permit") if before == old else ("permit", "deny")
        assert house.changes(after) == {house.person("ann"): (*outcomes, "2026-01-20T00:00:00Z")}
        assert house.changes(after, prune=False) == house.changes(after)


def test_what_a_deletion_leaves_is_not_overlooked():
    old, new = (HOUSE + clause("K", GONE + some) for some in ('["news"]', '["tips", "orders"]'))
    house = House(old)
    house.tell("information.collected", 2, data={"categories": ["email"], "origin": "subject"})
    house.tell("deletion.completed", 3, data={"request": None, "kept": ["email"]})
    ann = house.ledger.app.person("house", "ann")
    body = {**FRAME, "subject": "ann", "action": "use", "purpose": "news", "categories": ["email"]}
    answers = [house.ledger.decide({**body, "at": DAYS[day]}) for day in (2, 3, 8)]
    assert [one.outcome for one in answers] == ["permit", "permit", "deny"]
    assert answers[1].changes_at == parse_time(DAYS[8])
    compared = Rehearsal(house.ledger, house.old, pack(new), at=parse_time(DAYS[5]), known_at=FOREVER)
    assert not compared._difference.rows["contact"]
    assert compared._difference.rows["use"]
    assert [one.person for one in compared.run()] == [ann]


@pytest.mark.parametrize("new", ['["FR", "JP"]', '["fr"]', "[]"])
def test_a_country_that_moves_to_another_group_is_not_overlooked(new):
    old = HOUSE.replace("[categories]", '[countries]\nnear = ["FR"]\n[categories]', 1) + clause("C", ABROAD)
    house = House(old)
    house.tell("information.collected", 3)
    after = old.replace('["FR"]', new)
    ways = [plain(house.compare(after, prune=prune)) for prune in (True, False)]
    assert ways[0] == ways[1]
    assert any(changes for _, _, changes, _ in ways[1]) is (new != '["fr"]')


def test_another_zone_of_business_days_is_not_overlooked():
    text = HOUSE + clause("O", LATER)
    zone = text.replace("[categories]", '[calendar]\nzone = "Asia/Tokyo"\n[categories]', 1)
    house = House(text)
    house.tell("recipient.registered", 2, None, {"recipient": "van", "class": "carrier", "service": None})
    house.tell("optout.recorded", 5, data={"scope": "recipient", "recipient": "van"})
    at = parse_time("2026-01-06T20:00:00Z")  # the 7th already in Tokyo
    ways = [plain(house.compare(zone, at=at, prune=prune)) for prune in (True, False)]
    assert ways[0] == ways[1]
    assert ways[0][0][2]


def permit(rows):
    return f'[[clause.permit]]\naction = ["contact"]\n{rows}'


def test_a_lapse_reaches_messages_that_need_any_yes():
    row = clause("N", permit('purpose = ["orders"]\nneeds = [{ need = "any-opt-in" }]'))
    house = House(HOUSE + row)
    house.tell("consent.granted", 1, data={"purpose": "tips", "list": None})
    lapse = '[[clause.lapse]]\npurpose = ["tips"]\nafter_days = 30'
    assert house.changes(HOUSE + row + clause("L", lapse), "orders") == {
        house.person("ann"): ("permit", "deny", DAYS[31])
    }


def test_the_clauses_that_could_have_permitted_are_looked_at():
    house = House()
    house.tell("recipient.registered", 2, None, {"recipient": "van", "class": "carrier", "service": None})
    house.tell("service.used", 3)
    more = permit('purpose = ["orders"]\nchannel = ["sms"]')
    more += '\n[[clause.permit]]\naction = ["disclose"]\nclass = ["carrier"]\npurpose = ["tips"]'
    ways = [house.compare(HOUSE + clause("S", more), prune=prune) for prune in (True, False)]
    assert plain(ways[0]) == plain(ways[1])
    asked = {(one.asking.purpose, one.asking.channel, one.asking.recipient) for one in ways[0][0].clauses}
    assert ("orders", "post", None) in asked
    assert ("news", None, "van") not in asked  # a row about tips could not have permitted that


def test_a_yes_by_one_channel_is_no_yes_by_the_others():
    house = House()
    house.tell("consent.granted", 2, data={"purpose": "tips", "list": None, "channels": ["email"]})
    (found,) = house.compare(HOUSE.replace('purpose = ["tips"]\nneeds = [{ need = "opt-in" }]', 'purpose = ["tips"]'))
    assert {one.asking.channel for one in found.changes} == {"sms", "telephone", "post", "web"}


def changing(**stored):
    words = ", ".join(f"{name} = {value}" for name, value in stored.items())
    other = '{ clause = "H-NEWS", effective = "publication" }'
    return HOUSE.replace(
        '[[clause]]\nid = "H-NEWS"',
        '[change]\nnotice_purpose = "news"\njoined_by = [{ type = "service.used" }]\n'
        f'stored = {{ clause = "H-NEWS", {words} }}\nmaterial = {other}\nother = {other}\n[[clause]]\nid = "H-NEWS"',
    )


def test_a_use_that_brings_a_version_into_force_is_a_moment():
    house = House(changing(use_days_after_posting=2))
    house.tell("service.used", 2)
    change = {"touches_stored_information": True, "material": True, "new_uses": ["orders"]}
    data = {"version": "2", "text_sha256": "00", "pack_sha256": "00", "supersedes": "1", "change": change}
    house.tell("policy.published", 4, None, data)
    house.tell("policy.notice.posted", 5, None, {"version": "2", "where": "front page"})
    house.tell("service.used", 8)
    assert house.changes(changing(acknowledged="true"), "orders") == {house.person("ann"): ("permit", "deny", DAYS[8])}


def test_a_publication_is_a_moment():
    house = House(changing(acknowledged="true"))
    house.tell("service.used", 2)
    data = {
        "version": "2",
        "text_sha256": "00",
        "pack_sha256": "00",
        "supersedes": "1",
        "change": {"new_uses": ["orders"]},
    }
    house.tell("policy.published", 4, None, data)
    assert house.changes(HOUSE, "orders") == {house.person("ann"): ("permit", "deny", DAYS[4])}


def test_a_message_that_spends_what_is_left_is_a_moment():
    need = 'needs = [{ need = "credit", category = "email", purpose = "news" }]'
    house = House(HOUSE.replace('purpose = ["news"]\n', f'purpose = ["news"]\n{need}\n'))
    house.tell("information.collected", 3)
    house.tell("message.sent", 5, data={"purpose": "news", "list": None, "categories": ["email"]})
    assert house.changes(HOUSE) == {house.person("ann"): ("deny", "permit", DAYS[5])}


def test_what_is_collected_again_after_a_deletion_is_a_moment():
    gone = '[[clause.forbid]]\naction = ["disclose"]\nwhen = [{ need = "deleted" }]'
    house = House(HOUSE + clause("D", gone))
    van = {"recipient": "van", "class": "carrier", "service": None, "categories": ["email"]}
    house.tell("recipient.registered", 1, None, van)
    house.tell("information.collected", 2)
    house.tell("deletion.requested", 3)
    house.tell("deletion.completed", 4)
    house.tell("information.collected", 6, data={"categories": ["name"]})
    house.tell("information.collected", 8)
    without = HOUSE.replace('purpose = ["orders"]', 'purpose = ["tips"]')
    assert house.changes(without, "orders") == {house.person("ann"): ("permit", "deny", DAYS[8])}


def test_a_transfer_is_judged_as_of_when_it_takes_effect():
    row = '[[clause.permit]]\naction = ["transfer"]\ntransfer = true\n'
    row += 'needs = [{ need = "active-account", until = "WHEN" }]'
    ever, effective = (HOUSE + clause("T", row.replace("WHEN", when)) for when in ("ever", "effective"))
    house = House(ever)
    house.tell("service.used", 2)
    data = {"transfer": "t1", "new_owner": "x", "kind": "merger", "effective_at": DAYS[10], "posted": True}
    house.tell("ownership.transfer.announced", 3, None, data)
    house.tell("account.deactivated", 12)
    (found,) = house.compare(effective)
    said = [(one.asking.transfer, one.old.outcome, one.new.outcome, format_time(one.since)) for one in found.changes]
    assert said == [("t1", "deny", "permit", DAYS[2])]  # the one reading knows of day 12, the other stops at day 10
    (found,) = house.compare(HOUSE)
    assert found.changes == []


def test_two_controllers_are_an_error_and_so_is_one_without_a_statement(memory):
    one, other = (load_pack(PACKS[name]) for name in ("parature", "whereverworks"))
    with pytest.raises(InvalidQuestion, match="'parature', the other of 'whereverworks'"):
        Rehearsal(memory, one, other, at=END)
    with pytest.raises(InvalidQuestion, match="not of 'whereverworks'"):
        Rehearsal(memory, one, one, at=END, controller="whereverworks")
    with pytest.raises(InvalidQuestion, match="'house'"):
        Rehearsal(memory, pack(HOUSE), pack(HOUSE), at=END)


def test_news_that_comes_while_it_runs_is_not_seen():
    house = House()
    house.tell("subject.registered", 2, "ann")
    rehearsal = Rehearsal(house.ledger, house.old, pack(OPT_IN), at=END)
    house.tell("optout.recorded", 5, "ann", {"scope": "all"})
    house.tell("subject.registered", 5, "bob")
    assert [len(one.changes) > 0 for one in rehearsal.run()] == [True]


# -- properties --------------------------------------------------------------------------------------------------------

EXAMPLES = int(os.environ.get("REHEARSAL_EXAMPLES", "40"))
_editions = itertools.count()
CONTROLLERS = pytest.mark.parametrize("controller", sorted(PACKS))
READINGS = {
    "parature": [{}, {"PAR-OWN-1": "at-any-time"}],
    "whereverworks": [
        {},
        {"WW-OPT-3": "all-as-well"},
        {"WW-CHILD-1": "guardian-unlocks"},
        {"WW-CHG-2": "silence-is-a-yes"},
    ],
}


def of_clauses(document, *names):
    """(list, number) of every row of these mechanisms."""
    return [(c[name], n) for c in document["clause"] for name in names for n in range(len(c[name]))]


def drop_row(draw, document):
    rows, number = draw(st.sampled_from(of_clauses(document, "permit", "forbid", "gate", "objection")))
    del rows[number]


def alter_row(draw, document):
    rows, number = draw(st.sampled_from(of_clauses(document, "permit")))
    row = rows[number]
    need = draw(
        st.sampled_from(
            [
                {"need": "opt-in"}, {"need": "opt-in", "basis": "any"}, {"need": "any-opt-in"},
                {"need": "opt-in", "confirmed_within_days": 1}, {"need": "quiet", "months": 1, "unanswered": True},
                {"need": "service-agreement"}, {"need": "credit", "category": "email", "purpose": "newsletter"},
            ]
        )
    )  # fmt: skip
    rows[number] = draw(
        st.sampled_from(
            [
                {**row, "needs": [need]}, {**row, "needs": []}, {**row, "despite_no": not row["despite_no"]},
                {**row, "unrestricted": True}, {**row, "purpose": ["newsletter", "promotion"]},
                {**row, "purpose": None}, {**row, "channel": ["post"]}, {**row, "categories": ["email"]},
                {**row, "law": True},
            ]
        )
    )  # fmt: skip


def alter_objection(draw, document):
    scope = draw(st.sampled_from(["all", "general", "purpose", "list"]))
    row = {
        "scope": scope,
        "spares": draw(st.sampled_from([[], ["newsletter"], ["support"]])),
        "channels": draw(st.sampled_from([None, ["email"], ["post"]])),
        "marketing_only": draw(st.booleans()),
        "effective_in_business_days": draw(st.sampled_from([None, 1])),
    }
    clause = draw(st.sampled_from(document["clause"]))
    clause["objection"].insert(0, row)


def add_lapse(draw, document):
    some = draw(st.sampled_from([None, ["newsletter"], ["promotion", "support"]]))
    draw(st.sampled_from(document["clause"]))["lapse"].append({"purpose": some, "after_days": 1})


def alter_define(draw, document):
    rows, number = draw(st.sampled_from(of_clauses(document, "define")))
    told = {"type": "consent.granted", "where": {"basis": draw(st.sampled_from(["express", "use"]))}}
    events = draw(st.sampled_from([[{"type": "subject.registered"}], [told]]))
    rows[number] = {**rows[number], "events": events, "lapses": draw(st.booleans())}


def alter_words(draw, document):
    name = draw(st.sampled_from(["purposes", "marketing", "classes", "advertising_purposes"]))
    if name == "advertising_purposes":
        document[name] = ["newsletter"]
    else:
        word = {"purposes": "promotion", "marketing": "newsletter", "classes": "vendor"}[name]
        document[name] = [one for one in document[name] if one != word]


def alter_kinds(draw, document):
    kinds = document["categories"]
    word = draw(st.sampled_from(["email", "statistics"]))
    for kind, other in (("personal", "anonymous"), ("anonymous", "personal")):
        if word in kinds[kind]:
            kinds[kind] = [one for one in kinds[kind] if one != word]
            kinds[other] = [*kinds[other], word]
            return


def alter_change(draw, document):
    clause = document["clause"][0]["id"]
    stored = draw(
        st.sampled_from(
            [
                {"clause": clause, "express_yes": True}, {"clause": clause, "acknowledged": True},
                {"clause": clause, "use_days_after_email": 0, "use_days_after_posting": 0},
                {"clause": clause, "silence_is_yes": True},
            ]
        )
    )  # fmt: skip
    if document["change"] is not None:
        document["change"] = draw(st.sampled_from([None, {**document["change"], "stored": [stored]}]))


def reorder(draw, document):
    document["clause"] = draw(st.permutations(document["clause"]))


def ask_for_consent(draw, document):
    quiet = {"need": "quiet", "months": 1, "unanswered": draw(st.booleans())}
    clause = draw(st.sampled_from(document["clause"]))
    clause["permit"].append({"action": ["request"], "purpose": ["newsletter", "promotion"]})
    clause["forbid"].append({"action": ["request"], "when": [quiet]})


def close_a_day(draw, document):
    alter_objection(draw, document)
    document["calendar"] = {"holidays": ["2026-01-02"]}


def go_abroad(draw, document):
    document["countries"] = draw(st.sampled_from([{"near": ["FR"]}, {"near": ["FR", "JP"]}]))
    named = {draw(st.sampled_from(["country_in", "country_not_in"])): ["near"]}
    clause = draw(st.sampled_from(document["clause"]))
    clause[draw(st.sampled_from(["permit", "forbid"]))].append({"action": ["use", "transfer"], **named})


EDITS = [
    drop_row, alter_row, alter_objection, add_lapse, alter_define, alter_words, alter_kinds, alter_change, reorder,
    ask_for_consent, close_a_day, go_abroad,
]  # fmt: skip


@st.composite
def edited(draw, controller, most=2):
    """A shipped pack under some reading, edited at random."""
    start = load_pack(PACKS[controller], draw(st.sampled_from(READINGS[controller])))
    document = start.model_dump(by_alias=True)
    for edit in draw(st.lists(st.sampled_from(EDITS), max_size=most)):
        edit(draw, document)
    return Pack.model_validate({**document, "edition": f"edition {next(_editions)}"})


MORE = [
    ("message.sent", {"purpose": "newsletter", "list": "offers", "channel": "email", "categories": ["email"]}),
    ("consent.requested", {"purpose": "newsletter", "list": "news"}),
    ("consent.granted", {"purpose": "newsletter", "list": "news", "basis": "express"}),
    ("consent.granted", {"purpose": "newsletter", "basis": "express", "channels": ["email"]}),
    ("consent.granted", {"purpose": "testimonial", "item": "t1", "categories": ["name"], "basis": "express"}),
    ("information.collected", {"categories": ["profile"], "origin": "other-source", "source_name": "x"}),
    ("policy.notice.sent", {"version": "2", "channel": "email", "offers_choice": True}),
    ("policy.acknowledged", {"version": "2"}),
    ("breach.affected", {"breach": "b1"}),
    ("optout.recorded", {"scope": "advertising"}),
    ("subject.linked", {"personal": {"other": "bob"}}),
    ("subject.unlinked", {"personal": {"other": "bob"}}),
    ("hold.placed", {"hold": "h2", "ground": "law"}),
    ("disclosure.made", {"recipient": "goldco", "categories": ["email"], "purpose": "support"}),
]
OF_CONTROLLER = [
    ("policy.published", {"version": "2", "text_sha256": "00", "pack_sha256": "00", "supersedes": "1",
        "change": {"touches_stored_information": True, "material": True, "new_uses": ["quality-survey"]}}),
    ("policy.notice.posted", {"version": "2", "where": "front page"}),
    ("recipient.agreement.signed", {"recipient": "goldco", "kind": "confidentiality"}),
    ("recipient.registered", {"recipient": "listco", "class": "affiliate"}),
    ("ownership.transfer.announced", {"transfer": "t1", "new_owner": "x", "kind": "merger", "posted": True,
        "effective_at": minute(120)}),
]  # fmt: skip
more = st.lists(st.tuples(st.sampled_from(MORE), st.integers(0, 200)), max_size=6)
of_controller = st.lists(st.tuples(st.sampled_from(OF_CONTROLLER), st.integers(0, 200)), max_size=4)


def lived(controller, rows, extra, told):
    """A ledger of two people with these histories."""
    ledger = given_ledger(controller, rows, ("ann", "bob"))
    for number, ((type_name, data), moment) in enumerate([*extra, *told]):
        who = {} if (type_name, data) in OF_CONTROLLER else {"subject": "ann"}
        tell(ledger, controller, f"m{number}", minute(moment), minute(300), {"type": type_name, "data": data, **who})
    return ledger


def plain(found):
    """What a rehearsal found, without an order."""
    return [
        (one.person, one.questions, sorted(map(repr, one.changes)), sorted(map(repr, one.clauses))) for one in found
    ]


def under(ledger, one, body):
    """What the ledger itself answers with a pack that serves every version."""
    ledger.app.any_pack = one
    ledger._views.clear()
    try:
        answer = ledger.decide(body)
    except InvalidQuestion as error:
        return {"purpose": UNKNOWN, "categories": UNKNOWN, "controller": "none"}[error.field], ()
    return answer.outcome, tuple(answer.clauses)


@CONTROLLERS
@settings(max_examples=EXAMPLES)
@given(data=st.data(), rows=histories(subjects=("ann", "bob")), extra=more, told=of_controller)
def test_what_is_left_out_would_not_have_changed(controller, data, rows, extra, told):
    ledger = lived(controller, rows, extra, told)
    old, new = data.draw(edited(controller)), data.draw(edited(controller))
    moment = parse_time(minute(data.draw(st.sampled_from([100, 250, 1700, 3000]))))
    ways = [Rehearsal(ledger, old, new, at=moment, prune=prune).run() for prune in (True, False)]
    pruned, unpruned = (plain(way) for way in ways)
    assert pruned == unpruned


@CONTROLLERS
@settings(max_examples=EXAMPLES)
@given(data=st.data(), rows=histories(subjects=("ann", "bob")), extra=more, told=of_controller)
def test_every_change_is_what_the_ledger_answers_and_began_when_it_says(controller, data, rows, extra, told):
    ledger = lived(controller, rows, extra, told)
    old, new = data.draw(edited(controller)), data.draw(edited(controller))
    assume(old.known_classes == new.known_classes)  # the ledger itself does not look at classes
    end = parse_time(minute(data.draw(st.sampled_from([100, 250, 1700, 3000]))))
    found = list(Rehearsal(ledger, old, new, at=end).run())
    turns = turning(ledger, end)
    chance = random.Random(data.draw(st.integers(0, 99)))  # identifiers are random, and so is what could be drawn
    for compared in found:
        for one in chance.sample(compared.changes, min(6, len(compared.changes))):
            body = {**one.asking.body(), "controller": controller, "subject": compared.person}
            said = [under(ledger, p, {**body, "at": format_time(end)}) for p in (old, new)]
            assert said == [tuple(one.old), tuple(one.new)]
            assert one.since == began(ledger, compared.person, body, old, new, turns), one


def turning(ledger, end):
    """Every moment at which any answer could change: of entries, of their ends, a day and three and a month later."""
    entries = [entry for entry in ledger.app.page(0, 1000) if entry.type != "intake.refused"]
    moments = {entry.time for entry in entries}
    moments |= {parse_time(one) for entry in entries if (one := getattr(entry.data, "expires_at", None))}
    moments |= {entry.time + DAY for entry in entries}
    moments |= {entry.time - entry.time % DAY + days * DAY for entry in entries for days in (1, 2, 3, 4, 5)}
    moments |= {parse_time(format_time(entry.time).replace("-01-", "-02-", 1)) for entry in entries}
    return sorted(moment for moment in moments if moment <= end)


def began(ledger, person, body, old, new, turns):
    """The first of the last moments without interruption at which the ledger answers differently, one by one."""
    first = min(entry.time for entry in ledger.people.person(person).entries if entry.stream == person)
    since = None
    for moment in reversed(turns):
        at = {"at": format_time(moment)}
        if moment < first or under(ledger, old, {**body, **at})[0] == under(ledger, new, {**body, **at})[0]:
            return since
        since = moment
    return since


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(store):
    """Both houses with a person each who said nothing, and one who was erased since."""
    accept(store.ledger, event("subject.registered"), event("subject.registered", subject="crm:2"))
    other = {"controller": "whereverworks", "time": "2026-01-03T00:00:00Z"}
    accept(store.ledger, event("subject.registered", **other), event("subject.registered", subject="crm:2", **other))
    accept(store.ledger, event("optout.recorded", subject="crm:2", **{**other, "time": "2026-01-05T00:00:00Z"}))
    return store


@pytest.fixture
def opt_in(tmp_path):
    """The opt-out house's pack with opt-in for newsletters, in a file."""
    text = PACKS["whereverworks"].decode()
    row = 'purpose = ["newsletter", "promotion"]\n'
    assert row in text
    path = tmp_path / "opt-in.toml"
    path.write_text(text.replace(row, row + 'needs = [{ need = "opt-in" }]\n'))
    return path


def test_the_table_and_the_json(cli, filled, opt_in):
    person = filled.ledger.app.person("whereverworks", "crm:4711")
    found = cli.json("pack", "diff", "whereverworks", opt_in)
    assert (found["people"], found["people_changed"], found["changed"]) == (2, 2, 14)
    assert found["clauses"] == [
        {"clause": "WW-MKT-1", "side": side, "permit->deny": 14, "deny->permit": 0, "other": 0, "people": 2}
        for side in ("new", "old")
    ]
    of_use = {one["question"]["purpose"] for one in found["changes"] if one["person"] != person}
    assert of_use == {"newsletter", "promotion"}  # an opt-out of messages stopped the rest already
    assert {one["since"] for one in found["changes"]} == {"2026-01-03T00:00:00Z"}
    assert "same_answer" not in found
    for one in found["changes"]:
        assert one["question"]["subject"] == one["person"]
        answer = filled.ledger.decide({**one["question"], "at": found["at"]})
        assert {"outcome": answer.outcome, "clauses": answer.clauses} == one["old"]
    said = cli("pack", "diff", "whereverworks", opt_in).stdout
    assert "2 of 2 people" in said
    assert person in said
    assert "contact for newsletter by any channel" in said
    assert "crm:" not in said
    short = cli("pack", "diff", "whereverworks", opt_in, "--limit", "1").stdout
    assert "and 13 more" in short
    assert found["old"]["sha256"][:12] in said


def test_nothing_differs_is_exit_0_with_zeros(cli, filled):
    assert cli.json("pack", "diff", "parature", "parature")["changes"] == []
    said = cli("pack", "diff", "parature", "parature").stdout
    assert "0 of 2 people" in said


def test_a_reading_and_other_clauses_on_the_command_line(cli, filled):
    args = ("pack", "diff", "whereverworks", "whereverworks", "--reading", "WW-OPT-3=all-as-well", "--clauses")
    found = cli.json(*args)
    assert found["new"]["readings"] == {"WW-OPT-3": "all-as-well"}
    assert {one["new"]["outcome"] for one in found["changes"]} == {"permit"}
    assert {one["since"] for one in found["changes"]} == {"2026-01-05T00:00:00Z"}
    assert found["other_clauses"] == len(found["same_answer"])
    assert "WW-OPT-3=all-as-well" in cli(*args).stdout
    before = cli.json(*args, "--at", "2026-01-04T00:00:00Z")
    assert before["changes"] == []


def test_who_is_erased_is_compared_by_the_pseudonym(cli, filled, opt_in):
    person = filled.ledger.app.person("whereverworks", "crm:4711")
    cli("erase", "crm:4711", "--controller", "whereverworks", "--yes")
    found = cli.json("pack", "diff", "whereverworks", opt_in)
    assert person in {one["person"] for one in found["changes"]}


def test_mistakes_are_one_line_that_names_them(cli, filled, opt_in, tmp_path):
    assert "whereverworks" in cli.fails("pack", "diff", "parature", "whereverworks", code=2)
    assert "nothing.toml" in cli.fails("pack", "diff", "parature", "nothing.toml")
    said = cli.fails("pack", "diff", "parature", "parature", "--reading", "PAR-OWN-1=never")
    assert "PAR-OWN-1: has no reading 'never'" in said
    assert "CLAUSE=READING" in cli.fails("pack", "diff", "parature", "parature", "--reading", "never", code=2)
    wrong = ("--controller", "whereverworks")
    assert "parature" in cli.fails("pack", "diff", "parature", "parature", *wrong, code=2)
    assert "at" in cli.fails("pack", "diff", "parature", "parature", "--at", "yesterday", code=2)
    broken = tmp_path / "broken.toml"
    broken.write_text("format = 2\n")
    assert "broken.toml: " in cli.fails("pack", "diff", "parature", broken)
    with pytest.raises(PackError, match="no such file"):
        diff.packs_of(broken.with_name("x"), broken, [])


def test_not_a_byte_of_the_store_or_its_projections_is_written(cli, filled, opt_in):
    projections = opening.projection_path(filled.path)
    filled.ledger.projector.catch_up()
    before = filled.files(), projections.read_bytes()
    cli("pack", "diff", "whereverworks", opt_in)
    assert (filled.files(), projections.read_bytes()) == before
    filled.shut()  # nobody else has it open
    projections.unlink()
    before = filled.files()
    cli("pack", "diff", "whereverworks", opt_in)
    assert filled.files() == before
    assert not projections.exists()


def test_a_store_opened_to_read_refuses_to_be_written(filled):
    ledger = opening.open_to_read(filled.name)
    with pytest.raises(Exception, match="is open for reading only: it was asked for"):
        ledger.record([published(version="9")])
    ledger.close()
