"""What comes in at the door of the shop of the how-to: by a guardian's consent, and by other rows in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consent_ledger.consumers.scenarios import run_scenario

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "write-a-pack.md"
SHOP = re.search(r"```toml\n(# teashop\.toml\n.*?)```", PAGE.read_text(), re.DOTALL)[1].encode()
YOUNG = {"type": "subject.age.learned", "subject": "kim", "time": "2026-01-01T00:00:00Z", "data": {"age": 14}}


def said(day, type_name="consent.granted", **data):
    named = {"purpose": "workshop", **data} | ({"basis": "express"} if type_name == "consent.granted" else {})
    time = f"{day}T00:00:00Z"
    return {"type": type_name, "subject": "kim", "actor": "guardian", "time": time, "data": named}


def collected(day, *categories):
    data = {"categories": list(categories), "origin": "subject", "optout_offered": True}
    return {"type": "information.collected", "subject": "kim", "time": f"{day}T00:00:00Z", "data": data}


LET_IN, REFUSED = {"accepted": True}, {"refused": "TEA-CHILD-1"}
CASES = {
    "without a word": ([], collected("2026-01-05", "name"), REFUSED),
    "what it covers": ([said("2026-01-02", categories=["name"])], collected("2026-01-05", "name"), LET_IN),
    "not more": ([said("2026-01-02", categories=["name"])], collected("2026-01-05", "name", "email"), REFUSED),
    "each by its own": (
        [said("2026-01-02", categories=["name"]), said("2026-01-03", categories=["email"])],
        collected("2026-01-05", "name"),
        LET_IN,
    ),
    "taken back": (
        [said("2026-01-02"), said("2026-01-03", "consent.withdrawn")],
        collected("2026-01-05", "name"),
        REFUSED,
    ),
    "lapsed after two years": ([said("2026-01-02")], collected("2028-01-02", "name"), REFUSED),
    "the day before": ([said("2026-01-02")], collected("2028-01-01", "name"), LET_IN),
    "one that expired, in place of one for ever": (
        [said("2026-01-02"), said("2026-01-03", expires_at="2026-01-04T00:00:00Z")],
        collected("2026-01-05", "name"),
        REFUSED,
    ),
    "a guardian's time that ended": (
        [said("2026-01-02"), {**said("2026-01-03", "guardian.ended"), "data": {}}],
        collected("2026-01-05", "name"),
        REFUSED,
    ),
    "a deletion ends it": (
        [said("2026-01-02"), {**said("2026-01-03", "deletion.completed"), "data": {}}],
        collected("2026-01-05", "name"),
        REFUSED,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_guardian_lets_in(case):
    given, event, expect = CASES[case]
    then = [{"publish": event, "expect": expect}]
    scenario = {"id": "TEA-CHILD-1/door", "controller": "teashop", "given": [YOUNG, *given], "then": then}
    assert run_scenario(scenario, SHOP).problems == []


# -- other rows in its place -------------------------------------------------------------------------------------------

WHEN, UNLESS = 'when = [{ need = "minor", under = 16 }]', 'unless = [{ need = "opt-in", actor = "guardian" }]'
WHERE = 'where = { origin = "other-source" }'
GUARDIAN = '{ need = "opt-in", actor = "guardian" }'
SUBJECT = GUARDIAN.replace("guardian", "subject")
ORDERED = '{ need = "fact", fact = "ordered" }'
BY_GUARDIAN = said("2026-01-02")
BY_KIM = {name: value for name, value in said("2026-01-03").items() if name != "actor"}
BY_OPERATOR = {**BY_KIM, "actor": "operator"}
ORDER = {"type": "service.used", "subject": "kim", "time": "2026-01-04T00:00:00Z", "data": {"service": "order"}}
NAME = collected("2026-01-05", "name")
OTHERS_UNLESS = {
    "both": (
        f"{GUARDIAN}, {SUBJECT}",
        [(BY_OPERATOR, REFUSED), (BY_GUARDIAN, LET_IN), (NAME, REFUSED), (BY_KIM, LET_IN), (NAME, LET_IN)],
    ),
    "either": (
        f'{{ need = "any-of", of = [{GUARDIAN}, {SUBJECT}] }}',
        [(BY_OPERATOR, REFUSED), (NAME, REFUSED), (BY_KIM, LET_IN), (NAME, LET_IN)],
    ),
    "and a fact": (
        f"{GUARDIAN}, {ORDERED}",
        [(BY_KIM, REFUSED), (BY_GUARDIAN, LET_IN), (NAME, REFUSED), (ORDER, LET_IN), (NAME, LET_IN)],
    ),
    "a fact alone": (ORDERED, [(BY_GUARDIAN, REFUSED), (NAME, REFUSED), (ORDER, LET_IN), (NAME, LET_IN)]),
    "by nobody named": ('{ need = "opt-in" }', [(BY_GUARDIAN, REFUSED), (BY_KIM, REFUSED), (NAME, REFUSED)]),
}


def comes_to(given, steps, pack):
    """What is wrong when all that is published, one after the other, each under a key of its own."""
    then = [
        {"publish": {**body, "id": f"step-{number}"}, "expect": expect} for number, (body, expect) in enumerate(steps)
    ]
    scenario = {"id": "TEA-CHILD-1/door", "controller": "teashop", "given": given, "then": then}
    return run_scenario(scenario, pack.encode()).problems


@pytest.mark.parametrize("case", OTHERS_UNLESS)
def test_each_consent_that_an_unless_asks_for_comes_in_and_a_collection_when_all_are_there(case):
    unless, steps = OTHERS_UNLESS[case]
    pack = SHOP.decode().replace(UNLESS, f"unless = [{unless}]", 1)
    assert comes_to([YOUNG], steps, pack) == []


@pytest.mark.parametrize(("age", "guardian", "expect"), [(15, True, REFUSED), (17, True, LET_IN), (15, False, REFUSED)])
def test_of_two_ages_that_a_row_names_both_must_be_true(age, guardian, expect):
    when = WHEN.replace("}]", '}, { need = "minor", under = 18, guardian = true }]')
    young = {**YOUNG, "data": {"age": age, "needs_guardian": guardian}}
    assert comes_to([young], [(NAME, expect)], SHOP.decode().replace(WHEN, when, 1)) == []


@pytest.mark.parametrize(
    ("where", "origin", "service", "expect"),
    [
        ('where = { origin = "other-source", service = "fair" }', "other-source", "fair", "refused"),
        ('where = { origin = "other-source", service = "fair" }', "other-source", "shop", "accepted"),
        ('where = { origin = "other-source", service = "fair" }', "passive", "fair", "accepted"),
        ("", "passive", "shop", "refused"),
    ],
)
def test_a_door_is_about_events_with_all_that_it_names(where, origin, service, expect):
    body = {**NAME, "data": {"categories": ["name"], "origin": origin, "service": service}}
    expected = {expect: "TEA-COLLECT-1" if expect == "refused" else True}
    named = {**body, "data": {**body["data"], "source_name": "the fair"}}
    assert comes_to([], [(body, expected), (named, LET_IN)], SHOP.decode().replace(WHERE, where)) == []
