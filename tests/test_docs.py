"""The documentation is true: commands run and print what it shows, lists are complete, links lead somewhere.

A block fenced as `sh` is run, in order with the others of its page, in one shell and one empty folder. A block fenced
as `text` right after it is what came: the same lines in any order, `…` for what differs from run to run. A page that
shows files as `toml` or `yaml` names each in a comment on its first line: they are there before the first command.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

import consent_ledger
from consent_ledger import projections
from consent_ledger.consumers.cli.app import app
from consent_ledger.consumers.files import importing
from consent_ledger.ledger.policy import conditions
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.store.sqlite_schema import SCHEMA

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "deploy").glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
]
OF_SERVERS = {"run-on-postgresql"}  # pages whose commands want a server: what they say has tests of its own
HOW_TO = [one for one in sorted((DOCS / "how-to").glob("*.md")) if one.stem not in OF_SERVERS]
RUN = [DOCS / "tutorial.md", *HOW_TO]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.*"))

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
STOP = "\N{INFORMATION SEPARATOR TWO}"


def blocks(path):
    """(language, body) of every fenced block."""
    return [(found[1], found[2]) for found in BLOCK.finditer(path.read_text())]


def named(path):
    """A page's name from the root, for messages."""
    return str(path.relative_to(ROOT))


# -- what is shown runs ------------------------------------------------------------------------------------------------


def environment():
    """What a reader's shell has: the program, and no store yet."""
    ours = ("CONSENT_LEDGER_", "FORCE_COLOR", "TTY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "PYTHONUTF8": "1"}


def lay_out(path, folder):
    """Write the files that a page shows."""
    for language, body in blocks(path):
        if language in ("toml", "yaml") and (first := re.match(r"# (\S+)\n", body)):
            (folder / first[1]).write_text(body)


def came_of(path, folder):
    """Run a page. Returns (commands, what is shown of it or None, what came) for each of its blocks."""
    lay_out(path, folder)
    found = blocks(path)
    commands = [number for number, (language, _) in enumerate(found) if language == "sh"]
    script = "".join(f"printf '{STOP}'\n{found[number][1]}" for number in commands)
    ran = subprocess.run(
        ["bash", "-e", "-c", f"exec 2>&1\n{script}"],
        cwd=folder, env=environment(), capture_output=True, timeout=150, check=False,
    )  # fmt: skip
    parts = ran.stdout.decode().split(STOP)[1:]
    last = found[commands[len(parts) - 1]][1]
    assert ran.returncode == 0, f"{named(path)}: exit {ran.returncode} in\n{last}\n{parts[-1]}"
    after = [*found[1:], ("", "")]
    shown = [after[number][1] if after[number][0] == "text" else None for number in commands]
    return [(found[number][1], *rest) for number, *rest in zip(commands, shown, parts, strict=True)]


def unlike(shown, came):
    """Lines that are shown and did not come, or came and are not shown."""
    left = [line.rstrip() for line in came.splitlines() if line.strip()]
    missing = []
    for line in shown.splitlines():
        if not line.strip():
            continue
        pattern = re.compile(fnmatch.translate(re.sub(r"([\[\]*?])", r"[\1]", line.rstrip()).replace("…", "*")))
        hit = next((one for one in left if pattern.fullmatch(one)), None)
        if hit is None:
            missing.append(f"- {line}")
        else:
            left.remove(hit)
    return missing + [f"+ {line}" for line in left]


@pytest.fixture(scope="module")
def running(request, tmp_path_factory):
    """Every page that some test wants, running beside the others: each command starts the program anew."""
    wanted = [item.callspec.params["path"] for item in request.session.items if "running" in item.fixturenames]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {path: pool.submit(came_of, path, tmp_path_factory.mktemp(path.stem)) for path in wanted}


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_every_command_of_a_page_runs_and_prints_what_the_page_shows(path, running):
    ran = running[path].result()
    assert ran
    wrong = []
    for commands, shown, came in ran:
        lines = unlike(shown, came) if shown is not None else []
        wrong += ["after", commands, *lines] if lines else []
    assert not wrong, "\n".join([named(path), *wrong])


def test_the_readmes_python_runs_and_prints_its_line(tmp_path):
    readme = ROOT / "README.md"
    found = blocks(readme)
    (number,) = (number for number, (language, _) in enumerate(found) if language == "python")
    language, shown = found[number + 1]
    assert language == "text"
    ran = subprocess.run(
        [sys.executable, "-c", found[number][1]], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, shown), ran.stderr


# -- lists are complete ------------------------------------------------------------------------------------------------


def all_commands():
    """name -> command, groups opened: `pack add`, `dead-letters list`."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {one}": it for one, it in inner.items()} if inner else {name: command}
    return found


def section(text, heading):
    """What stands under a heading, to the next of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def test_the_reference_of_the_command_line_has_every_command_with_every_option():
    text = (REFERENCE / "cli.md").read_text()
    headings = {one.strip("`") for one in HEADING.findall(text)}
    wrong = []
    for name, command in all_commands().items():
        under = section(text, f"`{name}`")
        if under is None:
            wrong.append(f"no section `{name}`")
            continue
        for option in command.params:
            for spelling in option.opts:
                shown = f"`{spelling}" if spelling.startswith("-") else spelling.upper()
                if shown not in under and spelling not in ("--store", "--keys"):
                    wrong.append(f"`{name}` without {spelling}")
        documented = {one for one in re.findall(r"`(--[a-z-]+)", under) if one != "--help"}
        wrong += [f"`{name}` has no {one}" for one in documented - {o for p in command.params for o in p.opts}]
    gone = {one for one in headings if re.fullmatch(r"[a-z-]+( [a-z]+)?", one)} - set(all_commands())
    assert wrong + [f"no command {one}" for one in gone] == []


def test_the_readme_and_every_page_name_only_commands_that_exist():
    names = {name.split()[0] for name in all_commands()}
    wrong = []
    for path in PAGES:
        for _, body in blocks(path):
            for one in re.findall(r"(?:^|[|&(] *|\bbin/)consent-ledger ([a-z-]+)", body, re.MULTILINE):
                wrong += [] if one in names else [f"{named(path)}: consent-ledger {one}"]
    assert wrong == []


def test_the_reference_of_python_has_exactly_what_is_exported():
    under = section((REFERENCE / "python.md").read_text(), "`consent_ledger`")
    assert under is not None
    assert re.findall(r"^\| `(\w+)", under, re.MULTILINE) == sorted(consent_ledger.__all__, key=str.casefold)
    assert all(getattr(consent_ledger, name) is not None for name in consent_ledger.__all__)


def test_the_reference_of_python_has_every_method_of_a_ledger():
    under = section((REFERENCE / "python.md").read_text(), "Methods of `Ledger`")
    internal = {"forget", "named", "people"}
    public = {name for name in vars(projections.Ledger) if not name.startswith("_")} - internal
    assert {
        name for row in re.findall(r"^\| (.*?) \|", under, re.MULTILINE) for name in re.findall(r"`(\w+)\(", row)
    } == public


def test_the_reference_of_the_import_has_every_column():
    table = re.findall(r"^\| (`.*?) \|", (REFERENCE / "import.md").read_text(), re.MULTILINE)
    named_there = {name for row in table for name in re.findall(r"`([\w.]+)`", row)}
    plain = {one for one in importing.columns() if not one.startswith("shown.")}
    assert named_there == plain | {"personal.NAME"}


def test_the_reference_of_packs_has_every_mechanism_and_condition_with_its_fields():
    text = (REFERENCE / "pack-format.md").read_text()
    known = {**vars(pk), **vars(conditions)}.values()
    models = [one for one in known if isinstance(one, type) and issubclass(one, BaseModel)]
    models = [one for one in models if one.__module__ in (pk.__name__, conditions.__name__) and one.__name__ != "Table"]
    wrong = []
    for model in models:
        under = section(text, f"`{model.__name__}`")
        if under is None:
            wrong.append(f"no section `{model.__name__}`")
            continue
        for name, field in model.model_fields.items():
            inherited = any(name in base.model_fields for base in model.__mro__[1:] if hasattr(base, "model_fields"))
            spelt = field.alias or name
            if name not in ("need", "sha256", "edition") and not inherited and f"`{spelt}`" not in under:
                wrong.append(f"`{model.__name__}` without {spelt}")
        if "need" in model.model_fields:
            (need,) = model.model_fields["need"].annotation.__args__
            wrong += [] if f'"{need}"' in under else [f"`{model.__name__}` without {need}"]
    assert wrong == []


def test_the_reference_of_the_store_has_every_table_and_column():
    text = (REFERENCE / "store.md").read_text()
    wrong = []
    for statement in SCHEMA:
        found = re.match(r"CREATE TABLE (\w+) \((.*)\)[^)]*$", statement, re.DOTALL)
        if not found:
            continue
        row = re.search(rf"^\| `{found[1]}` \|.*$", text, re.MULTILINE)
        if row is None:
            wrong.append(found[1])
            continue
        columns = re.findall(r"(?:^|,)\s*([a-z_]+) (?:INTEGER|TEXT|BLOB)|(?:^|,)\s*([a-z_]+)(?=,)", found[2])
        wrong += [f"{found[1]}.{one or two}" for one, two in columns if f"`{one or two}`" not in row[0]]
    assert wrong == []


# -- pages -------------------------------------------------------------------------------------------------------------


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    plain = (re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in HEADING.findall(path.read_text()))
    return set(plain)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_within_the_repository_leads_somewhere(path):
    prose = BLOCK.sub("", path.read_text())
    wrong = []
    for link in LINK.findall(prose):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        inside = there.is_relative_to(ROOT)
        if not inside or not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(link)
    assert wrong == []


def test_every_page_under_docs_is_reached_from_the_readme():
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        links = [one.partition("#")[0] for one in LINK.findall(page.read_text()) if "://" not in one]
        found = {(page.parent / one).resolve() for one in links}
        found |= {one for folder in found if folder.is_dir() for one in folder.glob("*.md")}
        todo += [one for one in found - seen if one.suffix == ".md" and one.exists()]
    assert {named(page) for page in PAGES} - {named(page) for page in seen} == set()


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_page_knows_nothing_of_the_machine_it_was_written_on(path):
    text = path.read_text()
    assert re.findall(r"(?:/work|/home|/root|/tmp|/Users)\b\S*", text) == []
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_decisions_are_numbered_without_gaps_and_say_context_decision_and_consequence():
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert HEADING.findall(page.read_text())[1:] == ["Context", "Decision", "Consequence"], page.name


# -- deployment --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path):
    for unit in UNITS:
        text = re.sub(r"/opt/consent-ledger/\S*/consent-ledger\b", sys.executable, unit.read_text())
        (tmp_path / unit.name).write_text(text)
    here = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    files = [str(tmp_path / unit.name) for unit in UNITS]
    ran = subprocess.run(
        ["systemd-analyze", "verify", *files], env=here, capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in ran.stderr.splitlines() if "consent-ledger" in line] == []
