"""Intake into PostgreSQL: what it asks the server, and the measurement of it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from conftest import event
from typer.testing import CliRunner

from consent_ledger.consumers.cli.app import app
from consent_ledger.consumers.demo import bench_postgres
from consent_ledger.consumers.opening import create_ledger, open_ledger, shipped_packs

PATIENCE = 30
MOST = 16  # answers of the server that a batch waits for, from its beginning to its end


@pytest.fixture
def address(postgres, tmp_path):
    found = postgres.schema(), str(tmp_path / "keys")
    with create_ledger(*found) as made:
        made.app.add_pack(shipped_packs()["parature"])
    return found


@pytest.fixture
def waits(monkeypatch):
    """Each time that somebody waits for an answer of a server; what is only sent is not waited for."""
    from consent_ledger.ledger.store.postgres import PostgresStore, PostgresTransaction

    found = []
    for name in ("fetchone", "fetchall"):
        plain = getattr(PostgresTransaction, name)
        monkeypatch.setattr(
            PostgresTransaction, name, lambda self, plain=plain, name=name: (found.append(name), plain(self))[1]
        )
    begun = PostgresStore._begun
    monkeypatch.setattr(
        PostgresStore,
        "_begun",
        lambda self, *args, **how: (found.extend(("begin", "commit")), begun(self, *args, **how))[1],
    )
    return found


def told(people, number):
    """Something with a personal field, of each."""
    named = {"purpose": "newsletter", "list": "product-news", "basis": "express"}
    return [
        event(
            "consent.granted",
            {**named},
            subject=f"crm:{one}",
            id=f"{number}-{one}",
            personal={"email": f"{one}@example.com"},
        )
        for one in range(people)
    ]


@pytest.mark.parametrize("people", [1, 400])
def test_a_batch_waits_for_few_answers_whoever_wrote_before(address, waits, people):
    with open_ledger(*address) as ledger, open_ledger(*address) as other:
        assert {one.kind for one in ledger.record(told(people, 1))} == {"accepted"}
        other.record(told(people, 2))
        waits.clear()
        assert {one.kind for one in ledger.record(told(people, 3))} == {"accepted"}
        assert 0 < len(waits) <= MOST


def test_a_ledger_wakes_who_waits_for_it(address):
    with open_ledger(*address) as ledger, open_ledger(*address) as other, ThreadPoolExecutor(1) as pool:
        watch, began = other.app.store.watch(), threading.Event()
        pause = watch._pause

        def pausing(seconds):
            began.set()
            pause(seconds)

        watch._pause = pausing
        task = pool.submit(watch.wait, PATIENCE)
        assert began.wait(PATIENCE)
        ledger.record(told(1, 1))
        assert task.result(timeout=PATIENCE) is True
        assert other.app.current_head().size == 1
        watch.close()


# -- bench -------------------------------------------------------------------------------------------------------------


def bench(*args):
    return CliRunner().invoke(app, ["bench", *args])


def test_bench_measures_against_copy_and_the_stock_recorder_and_leaves_nothing(postgres, monkeypatch):
    monkeypatch.setattr(bench_postgres, "SINGLES", 5)
    server = postgres.schema().partition("?")[0]
    done = bench("--events", "250", "--store", server, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    against = {row["against"]: row["ratio"] for row in rows if row["ratio"]}
    assert set(against) == {"raw COPY, aim 0.3", "stock recorder, aim 3"}
    assert all(float(one["ratio"]) > 0 for one in rows if one["ratio"])
    assert sum(row["what"].startswith("intake, batches of") for row in rows) == 6
    with psycopg.connect(server) as connection:
        left = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'bench%'").fetchall()
    assert left == []


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("sqlite:///x.db", "names no server"),
        ("postgresql://me@127.0.0.1:1/none", "check the address"),
        ("postgresql://127.0.0.1/none?schema=A-B", "small letters"),
    ],
)
def test_bench_says_what_is_wrong_with_an_address(store, says):
    pytest.importorskip("psycopg")
    done = bench("--events", "10", "--store", store)
    assert done.exit_code == 2
    assert says in done.output
