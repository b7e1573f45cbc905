"""The tree itself: only known kinds of file, no module that nobody reads at once, no class of one name twice."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = {
    ".py", ".md", ".toml", ".yaml", ".json", ".txt", ".svg", ".lock", ".typed", ".service", ".timer",
    ".zip", ".vkey",  # evidence of an older format, and the key to check it with
}  # fmt: skip
PLAIN = {"LICENSE", "Makefile", ".gitignore", ".ci/run"}
TOP = {".ci", "consumers", "deploy", "docs", "ledger", "projections", "tests"}
TOP_FILES = {".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements.lock"}
LINES = 400
LONG = {
    "ledger/log/verifier.py": "the one file that an auditor takes along",
    "ledger/identifiers/cleartext.py": "forms of numbers, country by country",
    "ledger/policy/pack.py": "the models of a pack, which a reader wants on one page",
    "ledger/intake/batch.py": "one batch, one transaction, in the order in which it happens",
    "ledger/intake/opened.py": "one object with all that is remembered of a store",
    "ledger/intake/parse.py": "one event from bytes to a value",
    "ledger/store/postgres.py": "one server: its connections, moments and what is written anew",
    "ledger/vault/keys.py": "the interface of keys with its two providers",
    "projections/ledger.py": "every question that an app asks",
    "projections/decision/choices.py": "which word applies, in one place",
    "projections/decision/conditions.py": "what each condition means, one after the other",
    "projections/decision/decide.py": "to be divided: evaluating rows, combining them",
    "projections/read/people.py": "to be divided: who is read, as of when",
    "projections/read/projector.py": "one projector with its rebuild",
    "projections/reports/findings.py": "one finding after the other",
    "consumers/demo/generator.py": "a made-up life of two organisations",
    "consumers/demo/lives.py": "and those who live it",
}
# Classes that share a name with another one: to be told apart, never to become more.
SHARED = {
    "Asked", "Change", "Difference", "Draft", "Head", "Hold", "Line", "Member", "Named", "Reach", "Reader", "Report",
    "Row", "Watch",
}  # fmt: skip


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this tree is no clone")
    return [name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]


def sources():
    return sorted(path for one in ("ledger", "projections", "consumers") for path in (ROOT / one).rglob("*.py"))


def test_only_known_kinds_of_file_are_tracked():
    odd = [name for name in tracked() if name not in PLAIN and Path(name).suffix not in KINDS]
    assert odd == []


def test_nothing_else_stands_at_the_top():
    names = tracked()
    assert {name.partition("/")[0] for name in names if "/" in name} == TOP
    assert {name for name in names if "/" not in name} == TOP_FILES


def test_a_module_is_short_or_says_why_it_is_not():
    long = {str(path.relative_to(ROOT)) for path in sources() if len(path.read_text().splitlines()) > LINES}
    assert long == LONG.keys()


def test_no_class_has_the_name_of_another():
    found = defaultdict(list)
    for path in sources():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert {name for name, paths in found.items() if len(paths) > 1} == SHARED
