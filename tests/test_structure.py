"""What the code itself must be: short functions, exhaustive folds, no name of anybody in the engine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blackbox import link_names

from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.consumers.packs.clauses import ALONE, described, uses
from consent_ledger.consumers.packs.reference import generated
from consent_ledger.ledger.policy.load import load_pack, parse_pack

ROOT = Path(__file__).parents[1]
PACKAGES = ("ledger", "projections", "consumers")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LIMIT_LINES = 70
# whatever validates, folds or decides; demo data and tests may name names
ENGINE = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "consumers"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_is_longer_than_seventy_lines(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    long = [
        f"{one.name}: {one.end_lineno - one.lineno + 1}"
        for one in functions
        if one.end_lineno - one.lineno >= LIMIT_LINES
    ]
    assert long == []


def strings(path):
    """Every text in the code that is no docstring."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_the_engine_names_no_clause_organisation_list_recipient_purpose_or_class():
    packs = [load_pack(body) for body in shipped_packs().values()]
    words = {pack.controller for pack in packs} | {clause for pack in packs for clause in pack.ids}
    words |= {word for pack in packs for word in (*pack.purposes, *pack.classes)}
    words -= {"dispute", "law-enforcement", "partner"}  # also grounds and a signal, which the contract fixes
    words |= {"product-news", "paypal"}
    named = {
        (path.name, text)
        for path in ENGINE
        for text in strings(path)
        if text in words or re.search(r"\b(PAR|WW)-[A-Z]", text)
    }
    assert named == set()


def copy_under_one_name(folder):
    """A copy of the three folders, and of their settings, that the tools find under their one name."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    link_names(folder, folder / ".venv" / "names")
    shutil.copy(ROOT / "pyproject.toml", folder)


SPEAKS_SQL = {"execute", "executemany", "executescript"}
# these measure what a store costs beside bare SQL
BARE = {ROOT / "consumers" / "demo" / name for name in ("bench.py", "bench_postgres.py")}
NO_STORE = [path for path in SOURCES if "store" not in path.relative_to(ROOT).parts[:2]]


@pytest.mark.parametrize("path", sorted({*NO_STORE} - BARE), ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_is_spoken_only_where_things_are_stored(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert [f"line {one.lineno}: {one.attr}" for one in calls if one.attr in SPEAKS_SQL] == []


NEW_TYPE = '''
from typing import ClassVar


class SubjectAstonished(Fact):
    """The person was astonished."""

    type: ClassVar[str] = "subject.astonished"


# The closed union,'''


@pytest.mark.parametrize(("union", "about"), [("PersonData", "Fact"), ("ControllerData", "ControllerFact")])
def test_a_new_event_type_fails_type_checking_until_every_fold_has_met_it(tmp_path, union, about):
    copy_under_one_name(tmp_path)
    source = tmp_path / "ledger" / "events" / "catalogue.py"
    text = source.read_text()
    assert "# The closed union," in text
    text = text.replace("# The closed union,", NEW_TYPE.lstrip("\n").replace("(Fact)", f"({about})"), 1)
    text = text.replace(f"{union} = (\n", f"{union} = (\n    SubjectAstonished\n    |", 1)
    source.write_text(text)
    command = [sys.executable, "-m", "mypy", "-p", "consent_ledger.ledger", "-p", "consent_ledger.projections"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "assert_never" in run.stdout or "incompatible type" in run.stdout
    assert "SubjectAstonished" in run.stdout


def test_what_serves_less_than_two_clauses_says_why_and_only_that():
    found = uses([parse_pack(body) for body in shipped_packs().values()])
    texts = described()
    assert found.keys() == texts.keys()
    assert {name for name, clauses in found.items() if len(clauses) < 2} == {n for n, t in texts.items() if ALONE in t}
    assert all(text.partition(ALONE)[2] for text in texts.values() if ALONE in text)


@pytest.mark.parametrize("path", sorted(generated()), ids=lambda path: path.name)
def test_the_generated_reference_is_up_to_date(path):
    assert path.read_text() == generated()[path], "run: make docs"
