"""A pack that was invented for what a person's choice can meet: its scenarios pass, and every clause has some."""

from pathlib import Path

import pytest

from consent_ledger.consumers.packs.check import check_file
from consent_ledger.consumers.scenarios import load_scenarios, run_scenario
from consent_ledger.ledger.policy.load import load_pack

FOLDER = Path(__file__).parent / "packs"
PACK = (FOLDER / "house.toml").read_bytes()
SCENARIOS = load_scenarios(FOLDER / "house.yaml")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_the_house_hears_what_was_said(scenario):
    assert run_scenario(scenario, PACK).problems == []


def test_every_clause_has_a_scenario_and_the_only_problem_is_an_opt_out_of_a_list_by_two_rows():
    assert {scenario["id"].partition("/")[0] for scenario in SCENARIOS} == set(load_pack(PACK).ids)
    (problem,) = check_file(FOLDER / "house.toml", [FOLDER / "house.yaml"]).problems
    assert problem.message.startswith(
        "an opt-out of scope list takes effect at once by this row and after 2 business days"
    )


@pytest.mark.parametrize(("advertises", "outcome"), [(True, "deny"), (False, "permit")])
def test_where_nothing_is_advertised_a_no_to_advertising_stops_no_message_for_whatever_purpose(advertises, outcome):
    pack = PACK if advertises else PACK.replace(b'advertising_purposes = ["ads"]', b"")
    said = {
        "type": "optout.recorded",
        "subject": "ann",
        "time": "2026-01-02T00:00:00Z",
        "data": {"scope": "advertising"},
    }
    asked = {"subject": "ann", "action": "contact", "channel": "web", "at": "2026-01-03T00:00:00Z"}
    steps = [{"ask": asked, "expect": {"outcome": outcome}}]
    scenario = {"id": "HOUSE-FREE-1/advertised", "controller": "choicehouse", "given": [said], "then": steps}
    assert run_scenario(scenario, pack).problems == []
