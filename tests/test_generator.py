"""The made-up stream: the same bytes every time, every type, and every way in which a line can end."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from consent_ledger.consumers.demo.generator import (
    ANN,
    ANN_DAYS,
    ANN_LIST,
    ANN_REQUEST,
    NOW,
    ann_dates,
    bench_events,
    generate,
    write,
)
from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.events.catalogue import OWN_TYPES, TYPES
from consent_ledger.ledger.intake.parse import parse_line
from consent_ledger.ledger.times import DAY, parse_time

PACKS = shipped_packs()
DIGEST = """
import hashlib, sys
from consent_ledger.consumers.demo.generator import generate
from consent_ledger.consumers.opening import shipped_packs
print(hashlib.sha256(b"".join(generate(packs=shipped_packs()).lines())).hexdigest())
"""


def body(line):
    try:
        return parse_line(line)
    except InvalidEvent as error:
        return error


def record(bodies, moments=None):
    """A ledger with both packs, and one outcome for each body; moments of telling, or all of it now."""
    ledger = memory_ledger(at=lambda: parse_time(NOW))
    for pack in PACKS.values():
        ledger.app.add_pack(pack)
    outcomes = []
    for start in range(0, len(bodies), 1000):
        end = min(start + 1000, len(bodies))
        now = moments[end - 1] if moments else parse_time(NOW)
        outcomes += ledger.app.record(bodies[start:end], now)
    return ledger, outcomes


@pytest.fixture(scope="module")
def stream():
    return generate(packs=PACKS)


@pytest.fixture(scope="module")
def told(stream):
    ledger, outcomes = record([body(line) for line in stream.lines()])
    yield ledger, outcomes
    ledger.app.close()


def test_same_bytes_from_run_to_run(stream, tmp_path):
    again = b"".join(generate(packs=PACKS).lines())
    write(tmp_path / "stream.ndjson", stream)
    assert (tmp_path / "stream.ndjson").read_bytes() == again
    assert b"".join(generate(8, packs=PACKS).lines()) != again


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_same_bytes_in_another_process(stream, hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", DIGEST]
    found = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == hashlib.sha256(b"".join(stream.lines())).hexdigest()


@pytest.mark.parametrize(("people", "events"), [(1500, 20_000), (100, 1000), (9000, 3000)])
def test_every_type_and_about_as_many_events_as_asked(people, events):
    made = generate(3, people, events, packs=PACKS).events
    assert set(TYPES) - OWN_TYPES <= {event["type"] for event in made}
    assert abs(len(made) - events) <= events * 0.03


def test_shape_of_life(stream):
    subjects = Counter((event["controller"], event["subject"]) for event in stream.events if event.get("subject"))
    counts = sorted(subjects.values(), reverse=True)
    assert 1300 < len({name for _, name in subjects}) < 1700
    assert len({n for c, n in subjects if c == "parature"} & {n for c, n in subjects if c == "whereverworks"}) > 50
    assert counts[0] > 10 * counts[len(counts) // 2]  # a few are very active
    fields = [len(event["data"]["personal"]) for event in stream.events if event["data"].get("personal")]
    assert 0.28 < len(fields) / len(stream.events) < 0.38
    assert 1.7 < sum(fields) / len(fields) < 2.3


def test_news_that_comes_late(stream):
    moments = stream.told()
    assert moments == sorted(moments)
    times = [parse_time(event["time"]) if event["time"].endswith("Z") else None for event in stream.events]
    late = sum(1 for told, time in zip(moments, times, strict=True) if time is not None and told - time > DAY)
    assert 0.015 < late / len(times) < 0.035
    assert max(moments) < parse_time(NOW)
    assert min(moments) == parse_time(NOW) - 730 * DAY


def test_every_way_in_which_a_line_can_end(stream, told):
    ledger, outcomes = told
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["invalid"] == stream.bad
    assert kinds["refused"] >= 8
    assert kinds["conflict"] == 5
    duplicates = sum(outcome.duplicate for outcome in outcomes)
    assert 0.008 < duplicates / len(outcomes) < 0.012
    size = ledger.app.current_head().size
    positions = [outcome.position for outcome in outcomes if outcome.kind != "invalid" and not outcome.duplicate]
    carried = [entry.position for entry in ledger.app.page(0, size) if entry.type == "suppression.carried"]
    assert carried  # an address of somebody deleted comes back under another name
    assert sorted(positions + carried) == list(range(size))
    clauses = {outcome.clause for outcome in outcomes if outcome.kind == "refused"}
    assert {"PAR-COLLECT-2", "WW-FIN-1", "WW-COOKIE-1", "PAR-CHILD-1", "WW-CHILD-1"} <= clauses


def test_nobody_is_named_in_clear_text(stream):
    allowed = {"reason", "item"}  # of two bad lines
    clear = [
        (name, value)
        for event in stream.events
        for name, value in event["data"].items()
        if name != "personal" and "example." in str(value)
    ]
    assert {name for name, _ in clear} <= allowed


def test_findings_and_the_history_of_ann(stream):
    ledger, _ = record(stream.events, stream.told())
    her = {"controller": "parature", "subject": ANN}
    dates = ann_dates()
    assert dates.keys() == ANN_DAYS.keys()
    question = {**her, "action": "contact", "purpose": "newsletter", "list": ANN_LIST, "channel": "email"}
    outcomes = [
        ledger.decide({**question, "at": at}).outcome for at in ("2024-09-01T00:00:00Z", dates["disclosed"], NOW)
    ]
    assert outcomes == ["deny", "permit", "deny"]
    findings = {row["time"][:10]: row["known_then"] for row in ledger.findings(her)}
    assert findings[dates["sent_against"][:10]] is True
    assert False in findings.values()  # a letter between her no and the news of it
    held = {row["recipient"]: row["stale"] for row in ledger.recipients(her)}
    assert held["support-desk"] is True
    owed = {row["request"]: row for row in ledger.obligations(her) if row["kind"] == "deletion"}
    assert owed[ANN_REQUEST]["status"] == "awaiting-identification"
    there = {"controller": "whereverworks", "subject": ANN}
    partner = {**there, "action": "disclose", "recipient": "trade-partner", "purpose": "product-workflow"}
    answer = ledger.decide({**partner, "categories": ["email"]})
    assert answer.outcome == "deny"
    assert answer.to_dict()["consequences"]
    assert ledger.findings(there)
    ledger.app.close()


def test_bench_events_are_all_good():
    made = list(bench_events(3000, 5))
    assert made == list(bench_events(3000, 5, packs=PACKS))
    assert made[0]["type"] == "policy.published"
    assert len(made) == 3001
    assert sum(len(event["data"].get("personal", ())) == 2 for event in made) == 1000
    assert len({event["subject"] for event in made[1:]}) <= 3000 // 14
    ledger, outcomes = record(made)
    assert Counter(outcome.kind for outcome in outcomes) == {"accepted": 3001}
    ledger.app.close()
