"""What the hammer and the fault table share: events, and a look at a store from outside.

Only what users have: the functions of `consumers`, the command line, and the store as its database itself reads it.
Nothing here comes from `conftest`: processes of their own import it.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import psycopg

from consent_ledger.consumers import maintenance, open_ledger, shipped_packs
from consent_ledger.ledger.errors import InvalidQuestion

ROOT = Path(__file__).parents[1]
CONTROLLER = "parature"
PACKS = shipped_packs()
SOURCE = "urn:app:blackbox"
NEWSLETTER = {"purpose": "newsletter", "list": "product-news"}
LATE = "2024-12-01T00:00:00Z"  # later than any event here
ENTRIES = "SELECT position, stream, type, state FROM {}entries WHERE position>={} ORDER BY position"

# What opens and what closes, in one place: whatever is asked after a no must know the no.
_DATA = {
    "service.used": {"service": "site"},
    "subject.registered": {"kind": "customer"},
    "information.collected": {"categories": ["email"], "origin": "subject", "optout_offered": True},
    "consent.granted": {**NEWSLETTER, "basis": "express"},
    "consent.withdrawn": NEWSLETTER,
    "optout.recorded": {"scope": "all"},
    "subject.linked": {},
}


class Row(NamedTuple):
    """An entry, as the database gives it."""

    position: int
    stream: str
    type: str
    source: str
    id: str
    data: dict


# -- events ------------------------------------------------------------------------------------------------------------


def event(type_name, subject, name, time, *, data=None, personal=None):
    """A valid event; `name` is its id. `data` goes over what the type needs."""
    body = {**_DATA.get(type_name, {}), **(data or {})}
    if personal:
        body["personal"] = personal
    head = {"specversion": "1.0", "source": SOURCE, "id": name, "type": type_name, "controller": CONTROLLER}
    return {**head, **({"subject": subject} if subject else {}), "time": time, "data": body}


def published(controller=CONTROLLER):
    """The publication of a controller's statement, under its shipped pack."""
    data = {"version": "1", "text_sha256": "00", "pack_sha256": sha256(PACKS[controller]).hexdigest()}
    body = event("policy.published", None, f"policy-{controller}", "2024-01-01T00:00:00Z", data=data)
    return {**body, "controller": controller}


def question(subject, at=LATE):
    """May the newsletter be sent to this person?"""
    return {
        **NEWSLETTER, "controller": CONTROLLER, "subject": subject, "action": "contact", "channel": "email", "at": at
    }  # fmt: skip


def about(subject):
    """The body of a read model about one person."""
    return {"controller": CONTROLLER, "subject": subject}


# -- a store from outside ----------------------------------------------------------------------------------------------


def command(*args, timeout=300):
    """Run the command line in a process of its own."""
    program = [sys.executable, "-c", "from consent_ledger.consumers.cli.app import main\nmain()", *map(str, args)]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def in_server(path):
    """Whether this is an address in PostgreSQL, and no file."""
    return str(path).startswith("postgresql://")


def log(path, start=0):
    """Every entry from a position on, read without the ledger, of a file or at an address in PostgreSQL."""
    if in_server(path):
        address, _, schema = path.partition("?schema=")
        database, statement = psycopg.connect(address), ENTRIES.format(schema + ".", start)
    else:
        database, statement = sqlite3.connect(path, timeout=30), ENTRIES.format("", start)
    with closing(database) as db:
        found = db.execute(statement).fetchall()
    rows = []
    for position, stream, type_name, state in found:
        body = json.loads(state)
        rows.append(Row(position, stream, type_name, body["source"], body["id"], body["data"]))
    return rows


def integrity(path):
    """What SQLite finds wrong with the file; nothing is []. A server checks its pages itself."""
    if in_server(path):
        return []
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return [row[0] for row in db.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]


def gaps(rows, start=0):
    """Positions where the sequence breaks."""
    return [row.position for place, row in enumerate(rows, start) if row.position != place]


def fits(row, name, kind, position, type_name):
    """Whether this row is what was acknowledged: the event itself, or the entry that says it was refused."""
    if row.position != position:
        return False
    if kind == "accepted":
        return (row.type, row.id) == (type_name, name)
    return row.type == "intake.refused" and row.data["event_id"] == name


def written_after_erasure(rows):
    """Entries in the stream of somebody whose erasure was already written."""
    gone, late = set(), []
    for row in rows:
        if row.stream in gone:
            late.append((row.position, row.type, row.stream))
        if row.type == "subject.erased":
            gone.add(row.stream)
    return late


def is_unknown(ledger, name):
    """Whether nobody by that name is known."""
    try:
        ledger.decide(question(name))
    except InvalidQuestion as error:
        if error.field != "subject":
            raise
        return True
    return False


def open_values(ledger, person):
    """Every personal value of a person (a name, or the identifier) that the ledger still opens."""
    try:
        body = maintenance.evidence_for(ledger, about(person), ["all"], auditor=True)
    except InvalidQuestion:
        return []
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    return [one["value"] for one in manifest["fields"]]


def unhealthy(ledger, *, older=False):
    """What verify and doctor find wrong. `older`: but that its keys have signed a longer log."""
    wrong = [row for row in maintenance.examine(ledger) if not row["ok"]]
    return [f"{row['check']}: {row['says']}" for row in wrong if not (older and row["check"] == "signed heads")]


def opened(path, keys=None):
    """A store, open until the block ends."""
    return closing(open_ledger(path if in_server(path) else f"sqlite:///{path}", str(keys) if keys else None))


class Lines:
    """A file of JSON lines that outlives whoever writes it: each line is one write at the end."""

    def __init__(self, path):
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, **line):
        os.write(self._handle, json.dumps(line).encode() + b"\n")


class Reader:
    """Reads what was added to a file of JSON lines since; the line that a dying process left half is left out."""

    def __init__(self, path):
        self.path, self._offset = Path(path), 0

    def news(self):
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            body = file.read()
        whole = body[: body.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def link_names(tree, folder):
    """The three folders of a tree under their one name, for whoever has `folder` on the path."""
    names = folder / "consent_ledger"
    names.mkdir(parents=True)
    for package in ("ledger", "projections", "consumers"):
        (names / package).symlink_to(tree / package)
    (names / "__init__.py").symlink_to(tree / "consumers" / "facade" / "__init__.py")
