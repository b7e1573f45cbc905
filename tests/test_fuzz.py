"""The short form of the fuzzer. `make fuzz` is the long one."""

from __future__ import annotations

import os
import random

import pytest
from fuzz import WEIGHTS, Run, Site

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.intake.application import Outcome
from consent_ledger.projections.ledger import Ledger

INPUTS = 300


def test_whatever_comes_in_is_taken_or_refused_with_a_word():
    run = Run(os.environ.get("FUZZ_SEED") or str(random.randrange(10**6)), INPUTS).run()
    assert not run.failures, "\n".join([*run.failures, run.report()])
    assert {kind for kind, _, _ in run.counts} == set(WEIGHTS)
    assert {how for _, how, _ in run.counts} == {"mutation", "generation"}
    assert any(kind == "event" and became == "accepted" for kind, _, became in run.counts)


def test_the_same_seed_makes_the_same_inputs():
    first, again = Run("7", 30), Run("7", 30)
    made = []
    for run in (first, again):
        seen = []
        run._one = lambda site, number, run=run, seen=seen: seen.append(run.made(site, number))
        run.run()
        made.append(seen)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("raised", "said"), [(KeyError("x"), "escaped: KeyError"), (RecursionError(), "escaped: RecursionError")]
)
def test_what_escapes_is_told_with_its_input_and_seed(monkeypatch, raised, said):
    def broken(*_):
        raise raised

    monkeypatch.setattr(Site, "_event", broken)
    run = Run("7", 8).run()
    assert run.failures
    assert said in run.failures[0]
    assert "python tests/fuzz.py --seed 7 --first" in run.failures[0]
    assert "input: " in run.failures[0]


def test_an_event_that_takes_those_beside_it_along_is_found(monkeypatch):
    record = Ledger.record

    def greedy(ledger, events):
        bad = [event for event in events if isinstance(event, InvalidEvent)]
        return [Outcome("invalid", field="event", reason="") for _ in events] if bad else record(ledger, events)

    run = Run("7", 20)
    made = Site.ledger

    def ledger(site):
        monkeypatch.setattr(Ledger, "record", greedy)
        return made(site)

    monkeypatch.setattr(Site, "ledger", ledger)
    assert any("events beside it were not recorded" in failure for failure in run.run().failures)
