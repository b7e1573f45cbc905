"""Imported from a checkout by a short name, or by a former one, it is the one module that there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from consent_ledger.ledger.short_names import FORMER

ROOT = Path(__file__).parents[1]


def run(program, folder=ROOT):
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("first", ["", "import consent_ledger.ledger.files.held\n"])
@pytest.mark.parametrize(
    "name", ["ledger.files.held", "ledger.crashpoints", "projections.read.people", "consumers.ingest"]
)
def test_a_short_name_is_no_second_module(first, name):
    package = name.partition(".")[0]
    done = run(
        f"{first}import sys, importlib\none = importlib.import_module({name!r})\n"
        f"other = importlib.import_module('consent_ledger.{name}')\n"
        f"assert one is other and one.__name__ == one.__spec__.name == 'consent_ledger.{name}'\n"
        f"assert importlib.import_module({package!r}) is sys.modules['consent_ledger.{package}']\n"
    )
    assert done.returncode == 0, done.stderr


def test_an_error_is_caught_by_whatever_name_it_was_imported():
    done = run(
        "from consumers import open_ledger\nfrom ledger import LedgerError\nfrom ledger.errors import NotALedger\n"
        "try:\n    open_ledger('sqlite:////nowhere/at-all.db')\nexcept NotALedger as error:\n"
        "    assert isinstance(error, LedgerError)\n    print('caught')\n"
    )
    assert done.stdout == "caught\n", done.stderr


def test_every_former_name_leads_to_a_module():
    program = "import importlib, ledger, projections, consumers\n" + "".join(
        f"assert importlib.import_module({old!r}).__name__.startswith('consent_ledger.')\n" for old in FORMER
    )
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_an_apps_own_package_stays_its_own(tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "__init__.py").write_text("")
    (tmp_path / "ledger" / "errors.py").write_text("MINE = True\n")
    done = run("import consent_ledger.ledger.errors\nfrom ledger.errors import MINE\nprint(MINE)", tmp_path)
    assert done.stdout == "True\n", done.stderr
