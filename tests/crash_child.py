"""A process that dies where it is told to. Run by test_crash.py: `crash_child.py JOB`, JOB in JSON.

    {"store": "/tmp/x/ledger.db", "file": "/tmp/events.ndjson", "mode": "ingest", "kill": ["point", "after commit", 3]}

Modes: those of MODES. What it dies of, always the n-th since it started:

    point NAME n   a marked point
    statement n    a SQL statement about to run, one for each row of many; in PostgreSQL one for all rows
    step n         a hundred steps of SQLite's machine, within a statement
    call n         a call or return in Python, calls of C included
    bytes n        a write to any file behind its n-th byte: the kernel lets the write happen up to there

Nothing here looks at a clock. One that was not killed prints how often each was met.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

from consent_ledger.consumers import ingest, maintenance, moving, opening
from consent_ledger.consumers.demo.generator import NOW
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.store import rows
from consent_ledger.ledger.store.postgres import PostgresTransaction
from consent_ledger.ledger.store.sqlite_pool import LedgerPool
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.read import projector

BATCH = 60  # lines
PAGE = 200  # entries
STEPS = 100  # of SQLite's machine


def watch(kill):
    """Count everything there is to die of, and die of the one that `kill` names."""
    met = Counter()
    what, number = (kill[:-1], kill[-1]) if kill else (None, 0)

    def meet(*kind):
        name = " ".join(kind)
        met[name] += 1
        if list(kind) == what and met[name] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    crashpoints.hook = lambda name: meet("point", name)
    create = LedgerPool._create_connection

    def watched(pool):
        connection = create(pool)
        connection._sqlite_conn.set_trace_callback(lambda _: meet("statement"))
        connection._sqlite_conn.set_progress_handler(lambda: meet("step"), STEPS)
        return connection

    LedgerPool._create_connection = watched
    for name in ("execute", "executemany"):
        plain = getattr(PostgresTransaction, name)
        setattr(PostgresTransaction, name, lambda *args, plain=plain: (meet("statement"), plain(*args))[1])
    if what == ["bytes"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would make an error of it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
    if what in (None, ["call"]):
        sys.setprofile(lambda *_: meet("call"))
    return met


def run_ingest(ledger, job):
    """Record a file and fold after each batch, as a server would."""
    with Path(job["file"]).open("rb") as stream:
        ingest.ingest(ledger, stream, "events", progress=lambda _: ledger.projector.catch_up())


def run_erase(ledger, job):
    maintenance.erase(ledger, job["who"])


def run_rebuild(ledger, job):
    ledger.projector.close()
    projector.rebuild(ledger.app, ledger.projector.path)


def beside(ledger, name):
    """A file in the store's folder."""
    return Path(ledger.app.where).with_name(name)


def run_init(ledger, job):
    opening.create_ledger(str(beside(ledger, "made.db")))


def run_backup(ledger, job):
    maintenance.back_up(ledger, beside(ledger, "copy.db"))


def run_restore(ledger, job):
    """From a backup that lacks an erasure."""
    maintenance.back_up(ledger, beside(ledger, "copy.db"))
    maintenance.erase(ledger, job["who"])
    maintenance.restore(beside(ledger, "copy.db"), beside(ledger, "again.db"), ledger.app.keys.folder)


def run_copy(ledger, job):
    """Into a file beside it, or where the job says."""
    rows.PAGE_ROWS = PAGE
    to = job.get("to") or f"sqlite:///{beside(ledger, 'moved.db')}"
    moving.copy(job["store"], to, str(ledger.app.keys.folder))


def run_recover(ledger, job):
    """Go on with a backup that lacks an erasure."""
    run_restore(ledger, job)
    again = opening.open_ledger(str(beside(ledger, "again.db")), str(ledger.app.keys.folder))
    recover(again.app, again.clock())


MODES = {
    "ingest": run_ingest,
    "erase": run_erase,
    "rebuild": run_rebuild,
    "init": run_init,
    "backup": run_backup,
    "restore": run_restore,
    "copy": run_copy,
    "recover": run_recover,
}


def main(job):
    ingest.BATCH, projector.PAGE = BATCH, PAGE
    opening.clock = lambda: parse_time(NOW)
    met = watch(job["kill"])
    MODES[job["mode"]](opening.open_ledger(job["store"]), job)
    sys.setprofile(None)
    print(json.dumps(met))  # noqa: T201  to test_crash.py


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
