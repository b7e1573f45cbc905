"""With clock and randomness given, the same stream makes the same ledger in memory, in a file and in PostgreSQL."""

from __future__ import annotations

import random
from contextlib import contextmanager

import pytest
from conftest import PACKS, Clock, decoded, stored
from lived import answers, contents, tell

from consent_ledger.consumers.demo.generator import generate
from consent_ledger.consumers.opening import projection_path
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.store.postgres import PostgresStore
from consent_ledger.ledger.store.sqlite import in_memory, passing
from consent_ledger.ledger.vault.keys import MemoryKeys
from consent_ledger.projections.ledger import Ledger


@pytest.fixture(scope="module")
def stream():
    return generate(3, 200, 3000, packs=PACKS)


@contextmanager
def lived(store, stream, projection=None, seed=7):
    """A ledger on a store after the stream."""
    rng, clock = random.Random(seed), Clock()
    app = LedgerApplication(store, MemoryKeys(rng.randbytes), randomness=rng.randbytes)
    app.initialise("lived.example/ledger")
    with Ledger(app, clock, projection) as ledger:
        tell(ledger, clock, stream)
        yield ledger


@pytest.fixture(scope="module")
def reference(stream):
    """All of it in memory."""
    with lived(in_memory(), stream) as ledger:
        kinds = [entry.type for entry in decoded(ledger)]
        for kind in ("intake.refused", "deletion.completed", "subject.erased", "subject.linked"):
            assert kind in kinds
        return (
            ledger.app.current_head(), stored(ledger), contents(ledger), answers(ledger, stream),
            told_of_odd_names(ledger),
        )  # fmt: skip


def rows_of(found, table):
    """The rows of a table; of notes not what is still to be scrubbed, which in memory nothing is."""
    if table != "meta":
        return found[table]
    return [row for row in found[table] if not row[0].startswith("unscrubbed:")]


ODD = ("\0", "a\0b", "\0" * 32, "0" * 31 + "\0", "\ud800" * 32, "%", "%s", "?", "'", "\u00e9" * 32)


def told_of_odd_names(ledger):
    """What is said of names that nobody has and that not every database takes."""
    said = []
    for name in ODD:
        for ask in (
            lambda name=name: ledger.state({"controller": "parature", "subject": name}),
            lambda name=name: ledger.state({"controller": name, "subject": "crm:1"}),
            lambda name=name: ledger.decide({"controller": "parature", "subject": name, "action": "use"}),
            lambda name=name: ledger.erase({"controller": "parature", "subject": name}),
            lambda name=name: ledger.names(name),
        ):
            with pytest.raises(InvalidQuestion) as error:
                ask()
            said.append(str(error.value))
    return said


def require_same(ledger, stream, reference):
    head, entries, whole, said, odd = reference
    assert ledger.app.current_head() == head  # size, root, checkpoint with its signature
    assert stored(ledger) == entries
    found = contents(ledger)
    assert [table for table in whole if rows_of(found, table) != rows_of(whole, table)] == []
    came = answers(ledger, stream)
    assert len(came) == len(said)
    assert [(one, other) for one, other in zip(said, came, strict=True) if one != other] == []
    assert told_of_odd_names(ledger) == odd
    assert ledger.verify()


def test_in_a_file_it_is_the_same(stream, reference, tmp_path):
    path = tmp_path / "lived.db"
    with lived(passing(path), stream, projection_path(path)) as ledger:
        require_same(ledger, stream, reference)


def test_in_postgresql_it_is_the_same(stream, reference, postgres):
    with lived(PostgresStore(postgres.schema()), stream) as ledger:
        require_same(ledger, stream, reference)


def test_with_other_randomness_it_is_another_log(reference, stream):
    """What was compared is what was drawn, too."""
    with lived(in_memory(), stream, seed=8) as ledger:
        assert ledger.app.current_head().size == reference[0].size
        assert ledger.app.current_head().root != reference[0].root
