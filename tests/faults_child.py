"""The jobs of the fault table, and a process that does one of them. Run by faults.py: `faults_child.py JOB FOLDER`.

It prints a line of JSON for each thing that it was told is done: `{"acked": [[ID, KIND, POSITION, TYPE], ..]}`,
`{"erased": NAME}`, `{"done": JOB}`, and `{"failed": CLASS, "documented": BOOL, "says": ..}` for an error.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from contextlib import closing
from pathlib import Path

from blackbox import about, event
from typer.testing import CliRunner

from consent_ledger.consumers import create_ledger, maintenance, open_ledger
from consent_ledger.consumers.cli.app import app
from consent_ledger.ledger.errors import LedgerError

CARL, GONE = "carl", "gone"  # whose deletion completes, who is erased
_DAY = "2024-06-01T00:00:"
BATCHES = [
    [event("consent.granted", "dora", "new-1", f"{_DAY}00Z", personal={"email": "dora@example.com"})],
    [event("optout.recorded", "ann", "new-2", f"{_DAY}01Z")],
    [
        event("service.used", CARL, "new-3", f"{_DAY}02Z", personal={"email": "carl@example.com"}),
        event("deletion.completed", CARL, "new-4", f"{_DAY}03Z", data={"request": "r-carl"}),
        event("consent.granted", "emil", "new-5", f"{_DAY}04Z", personal={"email": "emil@example.com"}),
    ],
    [event("service.used", "dora", "new-6", f"{_DAY}05Z")],
]


class CommandFailed(LedgerError):
    """A command that said, in one line, what was wrong."""


def command(*args):
    """A command of the command line, in this process."""
    result = CliRunner().invoke(app, [str(one) for one in args])
    gc.collect()  # a command lets go of its store when its process ends
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise CommandFailed(f"{args[0]}: exit code {result.exit_code}, {result.output}")


def store_of(folder):
    return f"sqlite:///{folder}/store.db"


def intake(folder, say):
    """As an app would: what fails is told again later, and the next batch comes all the same."""
    with closing(open_ledger(store_of(folder))) as ledger:
        for batch in BATCHES:
            try:
                outcomes = ledger.record(batch)
            except Exception as error:  # noqa: BLE001  whatever comes is noted
                failed(error, say)
                continue
            say(
                acked=[
                    [one["id"], out.kind, out.position, one["type"]] for one, out in zip(batch, outcomes, strict=True)
                ]
            )


def erase(folder, say):
    with closing(open_ledger(store_of(folder))) as ledger:
        maintenance.erase(ledger, about(GONE))
        say(erased=GONE)


def backup(folder, say):
    with closing(open_ledger(store_of(folder))) as ledger:
        maintenance.back_up(ledger, folder / "saved.db")
        say(done="backup")


def restore(folder, say):
    maintenance.restore(folder / "old.db", folder / "copy.db", folder / "copy.db.keys")
    say(done="restore")


def rebuild(folder, say):
    command("rebuild", "--store", store_of(folder))
    say(done="rebuild")


def init(folder, say):
    create_ledger(f"sqlite:///{folder}/new.db").close()
    say(done="init")


def pack(folder, say):
    command("pack", "add", "whereverworks", "--store", store_of(folder))
    say(done="pack")


JOBS = {"intake": intake, "erase": erase, "backup": backup, "restore": restore, "rebuild": rebuild, "init": init}
JOBS["pack"] = pack


def failed(error, say):
    """An error that came out. Documented ones are for people to read; sqlite3's own are not."""
    documented = isinstance(error, LedgerError | OSError)
    say(failed=type(error).__name__, documented=documented, says=str(error))


def main(job, folder):
    def say(**line):
        os.write(1, json.dumps(line).encode() + b"\n")

    try:
        JOBS[job](folder, say)
    except Exception as error:  # noqa: BLE001  whatever comes is noted
        failed(error, say)
    with contextlib.suppress(OSError):
        os.open(folder / "end", os.O_RDONLY)  # one more call to die at: everything is done and said


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
