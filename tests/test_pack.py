"""Packs: what is refused, and that nothing in the engine hangs on a name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.consumers.packs.prose import pack_as_prose
from consent_ledger.consumers.scenarios import load_scenarios, run_scenario
from consent_ledger.ledger.errors import PackError
from consent_ledger.ledger.limits import PACK_BUSINESS_DAYS_LIMIT, PACK_PROBLEM_LIMIT
from consent_ledger.ledger.policy.load import checked_draft, load_pack, parse_pack, require_within_limits
from consent_ledger.projections.analysis.packcheck import check_pack

PARATURE = shipped_packs()["parature"].decode()
SHARED = Path(__file__).parents[2] / "shared" / "scenarios"
OWN = Path(__file__).parent / "scenarios"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format"),
        ("format = 1", "format = [", "TOML"),
        ('controller = "parature"', 'controler = "parature"', "controller"),
        ('purpose = ["service-message"]', 'purpose = ["service-mesage"]', "service-mesage"),
        ('class = ["affiliate"]\nneeds', 'class = ["afiliate"]\nneeds', "afiliate"),
        ('any_category = ["national-id"]', 'any_category = ["national_id"]', "national_id"),
        ('fact = "partner-notified" }', 'fact = "partner-told" }', "partner-told"),
        ('need = "service-agreement"', 'need = "service-agrement"', "PAR-SVC-1"),
        ('id = "PAR-OPT-1"', 'id = "PAR-CORR-2"', "PAR-CORR-2 stands twice"),
        ('event = "subject.registered"', 'event = "subject.registerd"', "subject.registerd"),
        ('clause = "PAR-SCOPE-3"', 'clause = "PAR-SCOPE-9"', "PAR-SCOPE-9"),
        ('"name", "postal-address", "email"', '"name", "statistics", "postal-address", "email"', "statistics"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:20],
)
def test_a_wrong_pack_is_refused_by_its_place(old, new, said):
    assert old in PARATURE
    with pytest.raises(PackError, match=re.escape(said)):
        load_pack(PARATURE.replace(old, new, 1).encode())


SHOP = (Path(__file__).parent / "packs" / "shop.toml").read_text()
NONE_SHOULD_SAY = [
    ("due_in_months = 24", "due_in_months = true", "due_in_months: Input should be a valid integer"),
    ("due_in_months = 24", "due_in_months = '24'", "due_in_months: Input should be a valid integer"),
    ("due_in_months = 24", "due_in_months = 24.0", "due_in_months: Input should be a valid integer"),
    ("grow = true", "grow = 1", "ages.grow: Input should be a valid boolean"),
    ("grow = true", 'grow = "no"', "ages.grow: Input should be a valid boolean"),
    ("[2026-12-25]", '["2026-12-25"]', "calendar.holidays.0: Input should be a valid date"),
    ("[2026-12-25]", "[2026-12-25T00:00:00Z]", "calendar.holidays.0: Input should be a valid date"),
    ("[2026-12-25]", "[1798156800]", "calendar.holidays.0: Input should be a valid date"),
    ("due_in_months = 24", f"due_in_business_days = {PACK_BUSINESS_DAYS_LIMIT + 1}", "the limit is"),
    ('scope = "all"', 'scope = "all"\neffective_in_business_days = 9223372036854775807', "the limit is"),
    ('"order", "delivery", "payment",', '"order", "order", "delivery", "payment",', "purposes: 'order' stands twice"),
    ('"order", "delivery", "payment",', '"order", "Tea", "delivery", "payment",', "'Tea': no event can say it"),
    ('"order", "delivery", "payment",', '"order", " tea", "delivery", "payment",', "' tea': no event can say it"),
    ('"order", "delivery", "payment",', '"order", "", "delivery", "payment",', "'': no event can say it"),
    ('["page-views",', '["page-views", "page-views",', "categories.anonymous: 'page-views' stands twice"),
    ('["complex",', '["complex", "complex",', "reasons: 'complex' stands twice"),
    ("[categories]", 'lists = ["Teas", "TEAS"]\n[categories]', "lists: 'TEAS' stands twice"),
    ("[categories]", 'items = ["a\\u202eb"]\n[categories]', "items: 'a\\u202eb' holds what is not seen"),
    ("[categories]", 'services = ["order", " "]\n[categories]', "services: ' ' is empty"),
    ('id = "SHOP-SOFT-1"', 'id = "SHOP\\u001b[2J"', "holds what is not seen"),
]


@pytest.mark.parametrize(("old", "new", "said"), NONE_SHOULD_SAY)
def test_what_no_pack_should_say_does_not_come_in_and_is_read_where_it_is(old, new, said):
    assert old in SHOP
    body = SHOP.replace(old, new, 1).encode()
    with pytest.raises(PackError, match=re.escape(said)):
        require_within_limits(body)
    assert said in str(checked_draft(body).problems[0])
    assert parse_pack(body).controller == "lanternshop"  # a store that has it goes on


def test_of_very_many_words_that_no_event_can_say_as_many_are_told_as_anybody_mends():
    words = ", ".join(['"X"'] * 200_000)
    draft = checked_draft(
        SHOP.replace('"order", "delivery", "payment",', f'"order", "delivery", "payment", {words},', 1).encode()
    )
    assert len(draft.problems) == PACK_PROBLEM_LIMIT


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory"])
def test_a_zone_that_every_machine_has_for_itself_is_none(zone):
    with pytest.raises(PackError, match=f"no time zone '{zone}' is known"):
        load_pack(SHOP.replace("Europe/Berlin", zone).encode())


def test_a_mark_of_byte_order_before_a_pack_says_nothing():
    marked = "\ufeff" + SHOP
    assert parse_pack(marked.encode()).clause == parse_pack(SHOP.encode()).clause
    assert parse_pack(marked.encode()).sha256 != parse_pack(SHOP.encode()).sha256  # the bytes are others


@pytest.mark.parametrize("controller", sorted(shipped_packs()))
def test_prose_has_a_section_for_every_clause(controller):
    pack = load_pack(shipped_packs()[controller])
    prose = pack_as_prose(pack)
    for clause in pack.clause:
        assert f"## {clause.id}: " in prose
        assert clause.rule in prose


def test_an_interpretation_that_is_a_sentence_is_read_for_ever_and_reported():
    """As packs had it before readings could be switched: what is stored must load."""
    title = 'title = "Holds"\n'
    assert title in PARATURE
    old = PARATURE.replace(title, title + 'interpretation = "A hold is a hold."\n')
    clause = load_pack(old.encode()).ids["PAR-DEL-2"]
    assert clause.interpretation.readings == {"stated": "A hold is a hold."}
    assert "A hold is a hold." in pack_as_prose(load_pack(old.encode()))
    (problem,) = check_pack(parse_pack(old.encode()))
    assert (problem.clause, "names one reading" in problem.message) == ("PAR-DEL-2", True)


SHOWN = [  # an edit of a shipped pack that a lawyer must be able to see
    ("[clause.hold]\nfinding = true", "[clause.hold]\nfinding = false"),
    ("use_days_after_email = 15", "use_days_after_email = 20"),
    ("unrestricted = true\n", ""),
    ('friend_email = { category = "friend-email", stored = false }', 'friend_email = { category = "friend-email" }'),
    ("[processor]", "[calendar]\nholidays = [2026-12-25]\n\n[processor]"),
    ('public = true\npurpose = ["forum"]', 'public = false\npurpose = ["forum"]'),
    ('reading = "hold-stops-the-clock"\n[clause.int', 'reading = "clock-runs-on"\n[clause.int'),
]


@pytest.mark.parametrize(("old", "new"), SHOWN, ids=lambda text: re.sub(r"\W+", "-", text)[:24])
def test_prose_shows_what_a_row_or_a_setting_says(old, new):
    assert old in PARATURE
    shown = [pack_as_prose(load_pack(text.encode())) for text in (PARATURE, PARATURE.replace(old, new, 1))]
    one, other = ([line for line in text.splitlines() if not line.startswith("Controller:")] for text in shown)
    assert one != other


NAMED = {"id", "controller", "purpose", "class", "service", "list", "recipient", "recipients", "new_uses"} | {
    "clause", "clauses", "refused", "of", "new_owner"
}  # fmt: skip


def renamed(value, names, key=None):
    """The value with the names of clauses, purposes, lists, recipients, classes and controllers replaced.

    Reasons are left out: names stand in the middle of them.
    """
    if isinstance(value, dict):  # of readings the keys are names
        keys = names if key == "readings" else {}
        return {
            keys.get(name, name): renamed(one, names, key if name == "exactly" else name)
            for name, one in value.items()
            if not (key == "expect" and name == "reason")
        }
    if isinstance(value, list):
        return [renamed(one, names, key) for one in value]
    if isinstance(value, str) and key in NAMED:
        head, slash, tail = value.partition("/")
        return names.get(head, head) + slash + tail
    return value


@pytest.mark.parametrize("controller", sorted(shipped_packs()))
def test_with_every_name_changed_all_scenarios_still_pass(controller):
    body = shipped_packs()[controller].decode()
    pack = load_pack(body.encode())
    files = [*sorted(OWN.glob("*.yaml")), *(sorted(SHARED.glob("*.yaml")) if SHARED.is_dir() else [])]
    scenarios = [one for file in files for one in load_scenarios(file) if one["controller"] == controller]
    assert scenarios
    grounds = {"law", "dispute", "law-enforcement", "rights"}  # fixed by the contract, whatever a purpose is called
    words = {
        word: f"word{number}" for number, word in enumerate((*pack.purposes, *pack.classes)) if word not in grounds
    }
    words |= {clause: f"ROW-{number}" for number, clause in enumerate(pack.ids)}
    words |= {controller: "somebody", "paypal": "till"}
    lists = ("product-news", "partner-news", "offers", "events", "safety-tips", "other")
    words |= {name: f"list{number}" for number, name in enumerate(lists)}
    quoted = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf'"({quoted})"')
    other = pattern.sub(lambda match: f'"{words[match[1]]}"', body).encode()
    problems = []
    for scenario in scenarios:
        result = run_scenario(renamed(scenario, words), other)
        problems += [f"{result.id}: {problem}" for problem in result.problems]
    assert problems == []
