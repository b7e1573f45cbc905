"""All scenarios: the project's own, and where they lie beside it those it is checked against."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import PERSON, Cli, event, published

from consent_ledger.consumers.mistakes import ScenarioFileError
from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.consumers.scenarios import load_scenarios, matches, run_files, run_scenario
from consent_ledger.consumers.scratch import fresh_ledgers
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.postgres import PostgresStore
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
    return run(load_scenarios(path))


def run(scenarios, fresh=memory_ledger) -> tuple[int, list[str]]:
    results = [run_scenario(scenario, BODIES[scenario["controller"]], fresh) for scenario in scenarios]
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


def some(first: int) -> list[dict[str, Any]]:
    """All scenarios where ALL_SCENARIOS is set, else every second one."""
    everything = [scenario for path in (*OWN, *BESIDE) for scenario in load_scenarios(path)]
    return everything if os.environ.get("ALL_SCENARIOS") else everything[first::2]


def test_in_a_file_they_come_out_the_same():
    with fresh_ledgers("sqlite") as fresh:
        count, problems = run(some(0), fresh)
    assert count > 500
    assert problems == []


def test_in_postgresql_they_come_out_the_same(postgres):
    with fresh_ledgers(postgres.schema()) as fresh:
        count, problems = run(some(1), fresh)
    assert count > 500
    assert problems == []


def left_in(address):
    """The schemas of scenarios in a database."""
    store = PostgresStore(address)
    with closing(store), store.reading() as moment, moment.cursor() as c:
        c.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'scenarios%'")
        return c.fetchall()


def test_nothing_is_left_where_scenarios_ran(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    address = postgres.schema()
    (tmp_path / "x.yaml").write_text("scenarios: 3")
    for store in ("sqlite", address):
        assert not [one for one in run_files(OWN[:1], [], store) if one.problems]
        with pytest.raises(ScenarioFileError):
            run_files([tmp_path / "x.yaml"], [], store)
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]
    assert left_in(address) == []
    with closing(PostgresStore(address)) as there:
        assert there.is_empty()  # what the address names was not touched


def test_each_scenario_has_a_ledger_of_its_own(postgres, packs):
    """What one recorded is not there for the next: neither entries nor persons, packs, letters."""
    for store in ("memory", "sqlite", postgres.schema()):
        with fresh_ledgers(store) as fresh:
            for _ in range(2):
                with fresh(packs["parature"], lambda: 1_800_000_000_000_000) as ledger:
                    assert ledger.app.current_head().size == 0
                    assert ledger.app.person("parature", PERSON) is None
                    assert ledger.record([published(), event()])[1].position == 1


def test_the_command_runs_them_on_a_store_that_is_named(postgres):
    cli = Cli("")
    for store in ("sqlite", postgres.schema()):
        assert " passed, 0 failed" in cli("pack", "test", OWN[0], "--store", store).stdout
    assert cli.fails("pack", "test", OWN[0], "--store", "mysql://x") == (
        "--store mysql://x: expected memory, sqlite or postgresql://..."
    )


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
