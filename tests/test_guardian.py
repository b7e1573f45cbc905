"""What a guardian lets in at the door, in the shop of the how-to: what stands, and what it covers."""

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
