"""A process that records into a store in PostgreSQL. Run by test_postgres_faults.py: `postgres_child.py JOB`, in JSON.

    {"store": "postgresql://...", "keys": "/tmp/keys", "batches": [[event, ...], ...]}

A line of JSON for each attempt: {"batch": n, "outcomes": [[kind, position, duplicate], ...]} or, where the error says
that it can be tried again, which is done at once, {"batch": n, "error": name}. Any other error ends it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from consent_ledger.consumers.opening import open_ledger
from consent_ledger.ledger.errors import LedgerError


def attempt(ledger, batch):
    """What came of recording a batch."""
    try:
        outcomes = ledger.record(batch)
    except LedgerError as error:
        if not error.retryable:
            raise
        return {"error": type(error).__name__}
    return {"outcomes": [[one.kind, one.position, one.duplicate] for one in outcomes]}


def main(job):
    with open_ledger(job["store"], job["keys"]) as ledger:
        for number, batch in enumerate(job["batches"]):
            said = {}
            while "outcomes" not in said:
                said = attempt(ledger, batch)
                print(json.dumps({"batch": number, **said}), flush=True)  # noqa: T201  to the test


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
