"""Scenarios: a pack's own tests. Source: contract, section 3.

Each scenario runs in a fresh ledger, in memory unless another store is named. `expect` matches as a subset, lists as
subsets; `[]` means none, and `{exactly: [...]}` all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from consent_ledger.consumers.files.yamlfile import read_yaml
from consent_ledger.consumers.mistakes import ScenarioFileError
from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.consumers.scratch import Fresh, fresh_ledgers
from consent_ledger.ledger.errors import InvalidQuestion, LedgerError
from consent_ledger.ledger.intake.application import Outcome
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.ledger import Ledger

LONG_BEFORE: Final = "2000-01-01T00:00:00Z"
_READ_MODELS: Final = ("obligations", "findings", "recipients", "refusals")
_KEYS: Final = {"id", "title", "controller", "readings", "given", "then"}


@dataclass(slots=True)
class Result:
    """What became of one scenario."""

    id: str
    controller: str
    problems: list[str] = field(default_factory=list)


def load_scenarios(path: Path) -> list[dict[str, Any]]:
    """The scenarios of a file. Raises ScenarioFileError."""
    document = read_yaml(path)
    scenarios = document.get("scenarios") if isinstance(document, dict) else None
    if not isinstance(scenarios, list) or not all(isinstance(one, dict) for one in scenarios):
        raise ScenarioFileError(f"{path}: not a scenario file: it wants a list named scenarios")
    for number, scenario in enumerate(scenarios, 1):
        wrong = _wrong_with(scenario)
        if wrong is not None:
            raise ScenarioFileError(f"{path}: {_named(scenario, number)}: {wrong}")
    return scenarios


def _named(scenario: dict[str, Any], number: int) -> str:
    name = scenario.get("id")
    return name if isinstance(name, str) else f"scenario {number}"


def _wrong_with(scenario: dict[str, Any]) -> str | None:
    """Why that is no scenario, as far as its form says; None where it is one."""
    wrong = {str(key) for key in scenario} - _KEYS or {"id", "controller", "then"} - set(scenario)
    if wrong:
        return f"unknown or missing key {min(wrong)[:40]!r}"
    if not isinstance(scenario["controller"], str) or not isinstance(scenario["id"], str | int):
        return "id and controller want text"
    readings = scenario.get("readings", {})
    if not isinstance(readings, dict) or not all(isinstance(one, str) for pair in readings.items() for one in pair):
        return "readings wants CLAUSE: READING for each"
    for name in ("given", "then"):
        rows = scenario.get(name) or []
        if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
            return f"{name} wants a list of {'events' if name == 'given' else 'steps'}, each a mapping"
    for step in scenario["then"] or []:
        if not all(isinstance(step.get(form, {}), dict) for form in ("ask", "publish", *_READ_MODELS)):
            return "what a step asks or publishes is a mapping"
    return None


def run_files(files: Sequence[Path], pack_bodies: Sequence[bytes], store: str = "memory") -> list[Result]:
    """Run all scenarios of some files with the shipped packs and others beside them. `store`: as `fresh_ledgers`."""
    with fresh_ledgers(store) as fresh:
        return _run_files(files, pack_bodies, fresh)


def _run_files(files: Sequence[Path], pack_bodies: Sequence[bytes], fresh: Fresh) -> list[Result]:
    packs = {load_pack(body).controller: body for body in (*shipped_packs().values(), *pack_bodies)}
    results = []
    for file in files:
        for scenario in load_scenarios(file):
            pack = packs.get(scenario["controller"])
            if pack is None:
                raise ScenarioFileError(
                    f"{file}: {scenario['id']}: no pack of {scenario['controller']!r} (give --pack)"
                )
            results.append(run_scenario(scenario, pack, fresh))
    return results


def run_scenario(scenario: dict[str, Any], pack: bytes | Pack, fresh: Fresh = memory_ledger) -> Result:
    """Run one scenario with the pack under test, under the readings that it switches.

    `pack`: its bytes; or one that is loaded already, for a scenario that switches none.
    """
    result = Result(str(scenario["id"]), str(scenario["controller"]))
    readings = scenario.get("readings", {})
    try:
        runner = _Runner(scenario, _under(readings, pack), fresh)
    except LedgerError as error:
        result.problems.append(f"{type(error).__name__}: {error}")
        return result
    try:
        for problem in runner.run():
            result.problems.append(problem)
    except LedgerError as error:
        result.problems.append(f"{type(error).__name__}: {error}")
    finally:
        runner.ledger.close()
    return result


def _under(readings: dict[str, str], pack: bytes | Pack) -> Pack:
    if isinstance(pack, Pack):
        assert not readings, "a pack that is loaded has lost the rows of its other readings: give its bytes"
        return pack
    return _loaded(pack, tuple(sorted(readings.items())))


@lru_cache(maxsize=64)  # many scenarios run with one pack, few with another reading of it
def _loaded(body: bytes, readings: tuple[tuple[str, str], ...]) -> Pack:
    return load_pack(body, dict(readings))


class _Runner:
    def __init__(self, scenario: dict[str, Any], pack: Pack, fresh: Fresh) -> None:
        self.scenario = scenario
        self.controller = scenario["controller"]
        self.now = parse_time(LONG_BEFORE)
        self.ledger: Ledger = fresh(pack, lambda: self.now)
        self.number = 0
        self.told = self.now

    def run(self) -> Iterator[str]:
        given = self.scenario.get("given") or []
        first = {"type": "policy.published", "time": LONG_BEFORE}
        first["data"] = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}  # type: ignore[assignment]
        if not any(_publishes_first(event) for event in given):
            given = [first, *given]
        for event in given:
            before = self.now
            outcome = self._publish(event)
            if self.told < before:
                yield f"given {event.get('type')} is not in the order in which it was recorded"
            if outcome.kind != "accepted":
                yield f"given {event.get('type')} was not accepted: {_came(outcome)}"
        for number, step in enumerate(self.scenario["then"] or [], 1):
            yield from (f"step {number}: {problem}" for problem in self._step(step))

    def _publish(self, event: dict[str, Any]) -> Outcome:
        self.number += 1
        body = {
            "specversion": "1.0",
            "source": "urn:scenario",
            "id": f"{self.number:04d}",
            "controller": self.controller,
        }
        body |= event
        recorded = body.pop("recorded_at", body.get("time"))
        try:
            recorded_at = parse_time(recorded)
        except (TypeError, ValueError):
            recorded_at = self.now  # the event's own time is refused by its name
        self.told = recorded_at
        self.now = max(self.now, recorded_at)
        return self.ledger.record([body], scenario=[recorded_at])[0]

    def _step(self, step: dict[str, Any]) -> Iterator[str]:
        form = next((name for name in ("ask", "publish", *_READ_MODELS) if name in step), None)
        if form is None or set(step) != {form, "expect"}:
            found = sorted(map(str, step))
            yield f"a step is one of ask, publish, {', '.join(_READ_MODELS)}, and expect; found {found}"
            return
        expect = step["expect"]
        came: Any
        if form == "publish":
            outcome = self._publish(step["publish"])
            came = _published(outcome)
        else:
            body = {"controller": self.controller, **step[form]}
            try:
                came = self.ledger.decide(body).to_dict() if form == "ask" else getattr(self.ledger, form)(body)
            except InvalidQuestion as error:
                came = {"invalid": error.field}
        if not matches(expect, came):
            yield f"{form} {step[form]}\n    expected {expect}\n    came     {_short(came)}"


def _publishes_first(event: dict[str, Any]) -> bool:
    data = event.get("data")
    return event.get("type") == "policy.published" and isinstance(data, dict) and data.get("version") == "1"


def _published(outcome: Outcome) -> dict[str, Any]:
    match outcome.kind:
        case "accepted":
            return {"accepted": True}
        case "refused":
            return {"refused": outcome.clause}
        case "conflict":
            return {"conflict": True}
        case _:
            return {"invalid": outcome.field}


def _came(outcome: Outcome) -> str:
    return f"{_published(outcome)} ({outcome.reason})"


def _short(came: Any) -> Any:
    if isinstance(came, dict):
        return {key: value for key, value in came.items() if key not in ("at", "known_at", "position", "obligations")}
    return came


def matches(expect: Any, came: Any) -> bool:
    """Whether what came holds what was expected."""
    if isinstance(expect, dict):
        if expect.keys() == {"exactly"}:
            all_of = expect["exactly"]
            same_length = isinstance(came, list) and isinstance(all_of, list) and len(came) == len(all_of)
            return same_length and matches(all_of, came)
        return isinstance(came, dict) and all(key in came and matches(want, came[key]) for key, want in expect.items())
    if isinstance(expect, list):
        if not isinstance(came, list):
            return False
        if not expect:
            return not came
        left = list(came)
        for want in expect:
            found = next((number for number, one in enumerate(left) if matches(want, one)), None)
            if found is None:
                return False
            del left[found]
        return True
    return type(expect) is type(came) and bool(expect == came)
