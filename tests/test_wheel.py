"""What pip installs: one name, whole, beside whatever an app calls its own folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ledger", "projections", "consumers")
APP = """
import consumers, ledger, projections  # the app's own

assert (ledger.NAME, projections.NAME, consumers.NAME) == ("mine",) * 3
import consent_ledger
from consent_ledger import create_ledger, shipped_packs

assert consent_ledger.__file__.startswith({place!r}), consent_ledger.__file__
with create_ledger("sqlite:///app.db") as book:
    pack = book.add_pack(shipped_packs()["parature"])
    said = {{"version": "1", "text_sha256": "00", "pack_sha256": pack.sha256}}
    head = {{"specversion": "1.0", "source": "urn:app", "controller": "parature", "time": "2026-01-01T00:00:00Z"}}
    book.record_all([{{**head, "id": "1", "type": "policy.published", "data": said}}])
    print(book.verify())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--wheel-dir", folder, tree]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_it_brings_one_name_and_every_module(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"consent_ledger"}
    there = {name.removeprefix("consent_ledger/") for name in names if name.endswith((".py", ".toml"))}
    ours = [path for one in PACKAGES for end in ("*.py", "*.toml") for path in (ROOT / one).rglob(end)]
    wanted = {str(path.relative_to(ROOT)) for path in ours if "facade" not in path.parts}
    assert there == {*wanted, "__init__.py"}
    assert "consent_ledger/py.typed" in names


def test_the_list_of_packages_is_that_of_the_tree():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {path.parent for one in PACKAGES for path in (ROOT / one).rglob("__init__.py")}
    named = {".".join(("consent_ledger", *path.relative_to(ROOT).parts)) for path in found}
    assert sorted(listed) == sorted({"consent_ledger", *named} - {"consent_ledger.consumers.facade"})


def test_an_app_with_folders_of_the_same_names_embeds_it(wheel, tmp_path):
    place = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--target", place, wheel], check=True, capture_output=True)
    app = tmp_path / "app"
    for name in PACKAGES:
        (app / name).mkdir(parents=True)
        (app / name / "__init__.py").write_text('NAME = "mine"\n')
    (app / "main.py").write_text(APP.format(place=str(place)))
    environment = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=app, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("holds: 1 entries")
