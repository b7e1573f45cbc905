"""Intake into PostgreSQL in one run: against raw binary COPY, and against the event sourcing library's recorder.

The raw peer writes the same entry bytes into the same table with its indexes, in the same batches and commits, and
nothing else: no names, keys and sealed fields, no idempotency, no tree, no signature. The library's own application
saves the same facts in the same batches. Everything happens in schemas of its own, which are dropped again. The figures
say something where the server has `fsync` on: the heading says whether it has.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import psycopg

from consent_ledger.consumers import show
from consent_ledger.consumers.demo.bench import BATCHES, SINGLES, Report, batches, record_all, stock_save, timed
from consent_ledger.consumers.demo.generator import bench_events
from consent_ledger.consumers.opening import create_ledger, shipped_packs
from consent_ledger.ledger.errors import LedgerError, NotALedger
from consent_ledger.ledger.store.postgres import parse_address
from consent_ledger.ledger.store.postgres_schema import TABLES

AIM_RAW: Final = 0.3
AIM_STOCK: Final = 3
_TYPES: Final = ["int8", "text", "int8", "text", "bytea", "bytea"]  # as COPY has them

Row = tuple[Any, ...]


def run(address: str, events: int, form: show.Form) -> None:
    """Measure intake into a server and print it. Raises NotALedger where there is none."""
    server, _, where = parse_address(address)
    stream = list(bench_events(events, 7))
    report = Report()
    try:
        with psycopg.connect(server, autocommit=True) as connection:
            setting = connection.execute("SHOW fsync").fetchone()
            assert setting is not None
            _intake(report, connection, server, stream)
    except psycopg.OperationalError as error:
        raise NotALedger(f"{where}: {str(error).splitlines()[0]} (check the address)") from None
    report.add("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")
    columns = ("what", "figure", "unit", "against", "ratio")
    show.print_rows(f"{events:,} events, fsync {setting[0]}", report.rows, columns, form)


def _intake(report: Report, connection: psycopg.Connection[Any], server: str, stream: list[dict[str, Any]]) -> None:
    rows: list[Row] = []
    for batch in reversed(BATCHES):  # the largest first: its rows are those that the raw peer writes
        some = stream if batch > 1 else stream[:SINGLES]
        ours, found = _ours(connection, server, some, batch)
        rows = rows or found
        raw = _raw(connection, rows[: len(some)], batch)
        with _schema(connection) as schema:
            environment = _environment(server, schema)
            stock = len(some) / timed(lambda some=some, batch=batch, to=environment: stock_save(to, some, batch))  # type: ignore[misc]
        what = f"batches of {batch:,}"
        report.add(f"intake, {what}", ours, "events/s", f"raw COPY, aim {AIM_RAW}", ours / raw)
        report.add(f"intake, {what}", ours, "events/s", f"stock recorder, aim {AIM_STOCK}", ours / stock)
        report.add(f"  raw COPY, {what}", raw, "events/s")
        report.add(f"  stock Application.save, {what}", stock, "events/s")


@contextmanager
def _schema(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """The name of a new schema, dropped afterwards."""
    name = f"bench_{uuid4().hex[:16]}"
    connection.execute(f"CREATE SCHEMA {name}".encode())
    try:
        yield name
    finally:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


def _ours(
    connection: psycopg.Connection[Any], server: str, stream: list[dict[str, Any]], batch: int
) -> tuple[float, list[Row]]:
    """(events a second, the rows of the log)."""
    with _schema(connection) as schema, tempfile.TemporaryDirectory(prefix="consent-ledger-bench-") as folder:
        joint = "&" if urlsplit(server).query else "?"
        ledger = create_ledger(f"{server}{joint}schema={schema}", str(Path(folder) / "keys"))
        try:
            ledger.app.add_pack(shipped_packs()["parature"])
            seconds = timed(lambda: record_all(ledger, stream, batch))
        finally:
            ledger.close()
        statement = f"SELECT * FROM {schema}.entries ORDER BY position"
        return len(stream) / seconds, connection.execute(statement.encode(), binary=True).fetchall()


def _raw(connection: psycopg.Connection[Any], rows: list[Row], batch: int) -> float:
    """Rows a second: the same bytes into the same table by binary COPY."""
    with _schema(connection) as schema:
        collated = [column.replace(" text", ' text COLLATE "C"', 1) for column in TABLES["entries"]]
        connection.execute(f"CREATE TABLE {schema}.entries ({', '.join(collated)})".encode())
        connection.execute(f"CREATE UNIQUE INDEX ON {schema}.entries (stream, version)".encode())
        statement = f"COPY {schema}.entries FROM STDIN (FORMAT BINARY)".encode()

        def write() -> None:
            for part in batches(rows, batch):
                with connection.transaction(), connection.cursor().copy(statement) as copy:
                    copy.set_types(_TYPES)
                    for row in part:
                        copy.write_row(row)

        return len(rows) / timed(write)


def _environment(server: str, schema: str) -> dict[str, str]:
    """How the library is told of a server."""
    parts = urlsplit(server)
    if not parts.hostname or not parts.username:
        raise LedgerError("bench: the address names no host or no user (postgresql://user@host:5432/database)")
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_HOST": parts.hostname,
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": unquote(parts.username),
        "POSTGRES_PASSWORD": unquote(parts.password or "none"),  # the library wants one, the server perhaps not
        "POSTGRES_DBNAME": unquote(parts.path.strip("/")) or unquote(parts.username),
        "POSTGRES_SCHEMA": schema,
    }
