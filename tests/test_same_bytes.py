"""The same ledger, question, `at` and `known_at` give the same bytes: in another process, on another day, later on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from conftest import accept, event

from consent_ledger.consumers.demo.generator import generate
from consent_ledger.consumers.opening import create_ledger, open_ledger, shipped_packs
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.times import format_time, parse_time

AT, KNOWN = "2025-06-01T00:00:00Z", "2025-09-01T00:00:00Z"
PURPOSES = ("newsletter", "support", "service-message", "quality-survey")
ASK = """
import os, sys
from pathlib import Path
from test_same_bytes import answers
from consent_ledger.consumers.opening import open_ledger
sys.stdout.buffer.write(answers(open_ledger(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A store that was told the generated stream as it came."""
    path = tmp_path_factory.mktemp("same") / "ledger.db"
    ledger = create_ledger(f"sqlite:///{path}")
    for pack in shipped_packs().values():
        ledger.app.add_pack(pack)
    stream = generate(people=150, events=2_000, packs=shipped_packs())
    for body, moment in zip(stream.events, stream.told(), strict=True):
        ledger.app.record([body], moment)
    subjects = sorted({(one["controller"], one["subject"]) for one in stream.events if one.get("subject")})
    (path.parent / "subjects.json").write_bytes(orjson.dumps(subjects[::7]))
    ledger.close()
    return path


def answers(ledger):
    """Questions and read models about some people, as the bytes of JSON."""
    path = Path(ledger.app.where)
    found = []
    for controller, subject in orjson.loads((path.parent / "subjects.json").read_bytes()):
        body = {"controller": controller, "subject": subject, "at": AT, "known_at": KNOWN}
        try:
            for purpose in PURPOSES:
                asked = {**body, "action": "contact", "purpose": purpose, "channel": "email"}
                found.append(ledger.decide(asked).to_dict())
                found.append(ledger.decide({**asked, "action": "use"}).to_dict())
            found += [
                getattr(ledger, name)(body) for name in ("state", "history", "recipients", "obligations", "findings")
            ]
        except InvalidQuestion as error:  # not known by then
            found.append(str(error))
    return orjson.dumps(found)


def test_same_bytes_in_other_processes(told):
    ledger = open_ledger(f"sqlite:///{told}")
    here = answers(ledger)
    assert here.count(b'"permit"') > 10
    assert here.count(b'"deny"') > 10
    assert answers(ledger) == here  # warm
    ledger.close()
    for seed in ("1", "4711"):
        there = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", ASK, f"sqlite:///{told}"]
        ran = subprocess.run(command, env=there, cwd=Path(__file__).parents[1], capture_output=True, check=True)
        assert ran.stdout == here


def test_same_bytes_on_another_day_without_the_projections_and_when_more_was_told(told):
    ledger = open_ledger(f"sqlite:///{told}")
    ledger.projector.catch_up()
    here = answers(ledger)
    ledger.close()
    told.with_name(told.name + ".projections").unlink()
    ledger = open_ledger(f"sqlite:///{told}")
    ledger.clock = lambda: parse_time("2031-01-01T00:00:00Z")
    assert answers(ledger) == here
    (_, someone), *_ = orjson.loads((told.parent / "subjects.json").read_bytes())
    accept(ledger, event("optout.recorded", subject=someone, time="2025-01-01T00:00:00Z", controller="parature"))
    assert answers(ledger) == here
    ledger.close()


def test_the_position_of_an_answer_is_what_was_known(store):
    accept(store.ledger, event(time="2026-01-02T00:00:00Z"))
    body = {"controller": "parature", "subject": "crm:4711", "action": "use", "purpose": "support"}
    known = format_time(store.clock.now)
    before = store.ledger.decide({**body, "known_at": known}).position
    assert before == store.ledger.decide(body).position
    store.clock.forward(60)
    accept(store.ledger, event(), event())
    assert store.ledger.decide({**body, "known_at": known}).position == before
    assert store.ledger.decide({**body, "known_at": format_time(store.clock.now)}).position == before + 2
