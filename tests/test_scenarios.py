"""All scenarios: the project's own, and where they lie beside it those it is checked against."""

from __future__ import annotations

from pathlib import Path

import pytest

from consent_ledger.consumers.mistakes import ScenarioFileError
from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.consumers.scenarios import load_scenarios, matches, run_scenario
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.projections.ledger import Ledger

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "scenarios"
OWN = sorted((HERE / "scenarios").glob("*.yaml"))
BODIES = shipped_packs()
BESIDE = sorted(SHARED.glob("*.yaml")) if SHARED.is_dir() else []


@pytest.fixture(scope="module")
def packs() -> dict[str, Pack]:
    return {controller: load_pack(body) for controller, body in BODIES.items()}


def run_all(path: Path) -> tuple[int, list[str]]:
    scenarios = load_scenarios(path)
    results = [run_scenario(scenario, BODIES[scenario["controller"]]) for scenario in scenarios]
    return len(results), [f"{one.id}: {problem}" for one in results for problem in one.problems]


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_own_scenarios(path, monkeypatch):
    decide, twice = Ledger.decide, []

    def decided(ledger, question):
        answer = decide(ledger, question)
        named = [answer.clauses, [ref.position for ref in answer.because]]
        twice.extend((question, one) for one in named if len(set(one)) < len(one))
        return answer

    monkeypatch.setattr(Ledger, "decide", decided)
    count, problems = run_all(path)
    assert count > 0
    assert problems == []
    assert twice == []  # no answer names a clause or an entry more than once


@pytest.mark.skipif(not BESIDE, reason="no scenarios lie beside the repository")
@pytest.mark.parametrize("path", BESIDE, ids=lambda path: path.stem)
def test_scenarios_beside(path):
    count, problems = run_all(path)
    assert count > 0
    assert problems == []


def test_every_clause_of_the_shipped_packs_has_a_scenario_of_the_projects_own(packs):
    named = {scenario["id"].split("/")[0] for path in OWN for scenario in load_scenarios(path)}
    clauses = {clause for pack in packs.values() for clause in pack.ids}
    assert named <= clauses
    assert clauses - named == set()


def test_a_wrong_expectation_fails(packs):
    scenario = {
        "id": "PAR-MKT-1/wrong",
        "controller": "parature",
        "given": [
            {"type": "subject.registered", "subject": "a", "time": "2026-01-01T00:00:00Z", "data": {"kind": "customer"}}
        ],
        "then": [
            {
                "ask": {"subject": "a", "action": "contact", "purpose": "promotion", "at": "2026-01-02T00:00:00Z"},
                "expect": {"outcome": "permit"},
            }
        ],
    }
    assert run_scenario(scenario, packs["parature"]).problems


@pytest.mark.parametrize(
    ("expect", "came", "holds"),
    [
        ([], [], True),
        ([], [1], False),
        ([1], [2, 1], True),
        ([1, 1], [1], False),
        ({"exactly": [1]}, [1], True),
        ({"exactly": [1]}, [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": None}, {}, False),
        (True, 1, False),
    ],
)
def test_matching(expect, came, holds):
    assert matches(expect, came) is holds


@pytest.mark.parametrize("text", ["", "scenarios: 3", "a: [", "scenarios: [{id: x}]"], ids=str)
def test_no_scenario_file(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioFileError):
        load_scenarios(path)
