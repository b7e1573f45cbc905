"""What `make lint` says of imports: each kind of violation, planted in a copy, fails it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import picture
import pytest
from test_structure import copy_under_one_name

LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
PLANTED = {
    "a package imports one above it": (
        "ledger/times.py", "import consent_ledger.projections.fold.refs", "consumers -> projections -> ledger",
    ),
    "a room imports one above it": (
        "ledger/log/entry.py", "import consent_ledger.ledger.intake.parse", "the rooms of ledger",
    ),
    "a room imports one beside it": (
        "ledger/log/entry.py", "import consent_ledger.ledger.policy.pack", "the rooms of ledger",
    ),
    "a room that is on no list": ("projections/attic/__init__.py", "", "the rooms of projections"),
    "a circle within a room": (
        "ledger/policy/pack.py", "import consent_ledger.ledger.policy.load", "no circle in any room",
    ),
    "SQL's door outside of a store": (
        "projections/read/people.py", "import sqlite3", "databases are spoken to where things are stored",
    ),
    "a clock of one's own": ("projections/fold/state.py", "import time", "the clock and chance"),
    "consumers that import each other the wrong way": (
        "consumers/show.py", "import consent_ledger.consumers.cli.app", "the rooms of consumers",
    ),
}  # fmt: skip


def lint(folder):
    environment = {**os.environ, "PYTHONPATH": str(folder / ".venv" / "names")}
    return subprocess.run(LINT, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    copy_under_one_name(folder)
    return folder


def test_the_imports_are_as_they_should_be(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_violation_fails(copy, what):
    name, line, broken = PLANTED[what]
    file = copy / name
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text((before or '"""Planted."""\n') + f"\n{line}\n")
    try:
        done = lint(copy)
    finally:
        file.unlink() if before is None else file.write_text(before)
        if before is None:
            file.parent.rmdir()
    assert done.returncode == 1, done.stdout
    assert any(broken in one and "BROKEN" in one for one in done.stdout.splitlines()), done.stdout


def test_the_picture_of_the_imports_is_up_to_date():
    file = picture.ROOT / "docs" / "explanation" / "imports.svg"
    assert file.read_text() == picture.draw(), "run: make docs"


def test_a_circle_of_rooms_cannot_be_drawn():
    with pytest.raises(ValueError, match="a circle through a"):
        picture.reduced({"a": {"b"}, "b": {"c"}, "c": {"a"}})
