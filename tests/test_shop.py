"""A pack of our own, of a shop under the laws of Europe and California: every clause has scenarios, and they pass."""

from pathlib import Path

import pytest

from consent_ledger.consumers.packs.check import check_file
from consent_ledger.consumers.scenarios import load_scenarios, run_scenario
from consent_ledger.ledger.policy.load import load_pack

FOLDER = Path(__file__).parent / "packs"
PACK = (FOLDER / "shop.toml").read_bytes()
SCENARIOS = load_scenarios(FOLDER / "shop.yaml")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_the_shop_keeps_its_word(scenario):
    assert run_scenario(scenario, PACK).problems == []


def test_every_clause_has_a_scenario_and_the_pack_has_no_problem():
    assert {scenario["id"].partition("/")[0] for scenario in SCENARIOS} == set(load_pack(PACK).ids)
    report = check_file(FOLDER / "shop.toml", [FOLDER / "shop.yaml"])
    assert report.problems == []
