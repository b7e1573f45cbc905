"""What intake asks of the tables and writes to them: the same answers from every store."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from consent_ledger.ledger.errors import StoreError
from consent_ledger.ledger.store.sqlite import in_memory
from consent_ledger.ledger.store.tables import addresses, entries, many, packs, people, refusals
from consent_ledger.ledger.store.tables.head import marked, move_head, sign_head

ANN, BOB, CID = "0a", "0b", "0c"  # persons
T1, T2, T3 = b"\x01", b"\x02", b"\x03"  # tags
MANY = 2 * many.PART + 1


@pytest.fixture(params=["memory", "postgres"])
def store(request):
    if request.param == "memory":
        made = in_memory()
    else:
        address = request.getfixturevalue("postgres").schema()
        from consent_ledger.ledger.store.postgres import PostgresStore

        made = PostgresStore(address)
    with made.writing() as c:
        made.create(c)
    yield made
    made.close()


@pytest.fixture
def c(store):
    with store.writing() as c:
        yield c


@contextmanager
def read(store):
    with store.reading() as moment, moment.cursor() as c:
        yield c


# -- entries -----------------------------------------------------------------------------------------------------------


def stream(name, *types, start=0):
    return [(start + n, name, n + 1, kind, b"leaf", b"%d" % (start + n)) for n, kind in enumerate(types)]


def test_entries_of_some_types_come_by_version_and_after_one(c):
    entries.append(c, stream(ANN, "a", "b", "a", "c"))
    entries.append(c, stream(BOB, "a", start=4))
    assert entries.of_types(c, ANN, ("a", "c")) == [(0, b"0"), (2, b"2"), (3, b"3")]
    assert entries.of_types(c, ANN, ["a"], after=1) == [(2, b"2")]
    assert entries.of_types(c, ANN, ["a"], after=3) == []
    assert entries.first_of_stream(c, BOB) == (4, b"4")
    assert entries.first_of_stream(c, CID) is None


def test_a_tip_is_that_which_was_stored_last(c):
    entries.move_tips(c, [(ANN, 1, b"one"), (BOB, 1, b"bob")])
    entries.move_tips(c, [(ANN, 3, b"three")])
    assert [entries.tip(c, one) for one in (ANN, BOB, CID)] == [(3, b"three"), (1, b"bob"), (0, b"")]


def test_of_many_keys_those_that_are_there_are_found(c):
    rows = [(b"key%d" % n, n, b"digest") for n in range(MANY)]
    entries.add_keys(c, rows)
    assert sorted(entries.known_keys(c, [*(key for key, *_ in rows), b"other"])) == sorted(rows)
    assert list(entries.known_keys(c, [])) == []


def test_a_key_is_stored_once(store):
    with store.writing() as c:
        entries.add_keys(c, [(b"key", 1, b"digest")])
    with pytest.raises(StoreError), store.writing() as c:
        entries.add_keys(c, [(b"key", 2, b"digest")])
    with read(store) as c:
        assert list(entries.known_keys(c, [b"key"])) == [(b"key", 1, b"digest")]


def test_the_head_moves_from_where_it_was_and_from_nowhere_else(c):
    c.execute("INSERT INTO head VALUES (1, 0, ?, 0, '', ?)", [b"empty", b""])
    assert not move_head(c, (0, b"other"), 2, b"root", 5, b"edge")
    assert not move_head(c, (1, b"empty"), 2, b"root", 5, b"edge")
    assert move_head(c, (0, b"empty"), 2, b"root", 5, b"edge")
    sign_head(c, "signed")
    c.execute("SELECT size, root, recorded_at, checkpoint, edge FROM head")
    assert c.fetchall() == [(2, b"root", 5, "signed", b"edge")]


def test_what_an_entry_mentions_is_noted_once(c):
    entries.note_mentions(c, [])
    entries.note_mentions(c, [(ANN, 1), (ANN, 1), (BOB, 1)])
    entries.note_mentions(c, [(ANN, 1), (ANN, 2)])
    c.execute("SELECT person, position FROM mentions ORDER BY person, position")
    assert c.fetchall() == [(ANN, 1), (ANN, 2), (BOB, 1)]


# -- persons -----------------------------------------------------------------------------------------------------------


def test_who_has_entries_or_a_name_is_known(c):
    entries.append(c, stream(ANN, "a"))
    c.execute("INSERT INTO aliases VALUES (?,?,NULL,NULL,NULL)", [b"alias", BOB])
    assert [people.known(c, one) for one in (ANN, BOB, CID)] == [True, True, False]


def test_who_is_joined_is_joined_both_ways_and_once(c):
    for _ in range(2):
        people.join(c, ANN, BOB)
        people.note_aged(c, [CID])
    assert people.joined_with(c, ANN) == [BOB]
    assert people.joined_with(c, BOB) == [ANN]
    several = [ANN, BOB, CID, *map(str, range(MANY))]
    assert people.of_known_age_or_joined(c, several) == {ANN, BOB, CID}


def test_the_newest_entries_and_keys_of_many_are_read_at_once(c):
    entries.move_tips(c, [(ANN, 2, b"leaf a"), (BOB, 1, b"leaf b")])
    people.add_keys(c, [(ANN, b"wrapped a"), (CID, b"wrapped c")])
    several = [ANN, CID, *map(str, range(MANY))]
    assert list(entries.tips_of(c, several)) == [(ANN, 2, b"leaf a")]
    assert people.wrapped_keys(c, several) == {ANN: b"wrapped a", CID: b"wrapped c"}


def test_a_deletion_covers_what_is_of_an_earlier_moment(c):
    assert not people.any_deleted(c)
    assert not marked(c)[2]
    c.execute("INSERT INTO deleted VALUES (?,?)", [ANN, 2**53])
    assert people.any_deleted(c)
    assert marked(c)[2]
    assert people.deleted_after(c, [BOB, ANN], 2**53 - 1)
    assert not people.deleted_after(c, [BOB, ANN], 2**53)
    assert not people.deleted_after(c, [BOB], 0)


# -- refusals and recipients -------------------------------------------------------------------------------------------


def test_refusals_are_found_by_their_keys(c):
    assert marked(c)[0] is False
    refusals.add(c, b"key", b"one", b"alias", 1)
    refusals.add(c, b"key", b"two", None, 2)
    refusals.add_names(c, [b"a", b"b"], 2)
    refusals.add_names(c, [], 2)
    assert marked(c)[0] is True
    assert sorted(refusals.of_keys(c, [b"key", b"other"])) == [(b"key", b"one", 1), (b"key", b"two", 2)]
    c.execute("SELECT alias, position FROM refused_names ORDER BY alias")
    assert c.fetchall() == [(b"a", 2), (b"b", 2)]


def test_a_recipient_is_added(c):
    packs.add_recipient(c, "shop", "mailer")
    c.execute("SELECT controller, recipient FROM recipients")
    assert c.fetchall() == [("shop", "mailer")]


# -- addresses on record -----------------------------------------------------------------------------------------------


def living(person, position, tag, how="said"):
    return person, position, tag, "email", how, b"bound %d" % position


def test_addresses_on_record_come_in_order_and_once(c):
    rows = [living(BOB, 2, T1), living(ANN, 5, T2), living(ANN, 1, T3, "name"), living(ANN, 5, T1)]
    addresses.add(c, rows)
    addresses.add(c, rows[:1])
    assert addresses.everything(c) == sorted(rows)
    assert addresses.of_person(c, ANN) == [row[1:] for row in sorted(rows[1:])]


def test_a_bounced_address_is_nobodys(c):
    addresses.add(c, [living(ANN, 1, T1), living(ANN, 3, T1), living(BOB, 2, T1, "bounced"), living(BOB, 4, T2)])
    assert addresses.persons_with(c, T1) == [ANN]
    assert addresses.kinds(c, ANN) == [(T1, "email")]
    assert addresses.kinds(c, BOB) == [(T2, "email")]
    assert addresses.had_before(c, [BOB, ANN], T1, 2)
    assert not addresses.had_before(c, [BOB, ANN], T1, 1)
    assert not addresses.had_before(c, [BOB], T1, 9)


def test_a_tag_is_shared_as_soon_as_another_person_has_it(c):
    addresses.add(c, [living(ANN, 1, T1), living(ANN, 2, T2), living(BOB, 3, T1), living(CID, 4, T3)])
    addresses.note_shared(c, [T1, T2, T3])
    addresses.note_shared(c, [T1])
    assert addresses.shared(c) == addresses.of_several(c) == {T1}
    assert addresses.first_and_last(c, T1) == (ANN, BOB)
    assert sorted(addresses.take(c, ANN)) == [(T1, b"bound 1"), (T2, b"bound 2")]
    assert addresses.first_and_last(c, T1) == (BOB, BOB)
    assert addresses.first_and_last(c, T2) == (None, None)
    addresses.drop_shared(c, T1)
    assert addresses.shared(c) == addresses.of_several(c) == set()


@pytest.mark.parametrize("person", [ANN, CID])  # before the other, and after
def test_another_before_or_after_shares_a_tag(c, person):
    addresses.add(c, [living(BOB, 1, T1), living(person, 2, T1)])
    addresses.note_shared(c, [T1])
    assert addresses.shared(c) == {T1}


def test_entries_that_an_answer_looks_at_go_with_their_person(c):
    addresses.add_objections(c, [(ANN, 1), (ANN, 1), (BOB, 2)])
    addresses.add_beside(c, [(ANN, 3), (BOB, 4)])
    addresses.add_beside(c, [(BOB, 4)])
    assert addresses.all_objections(c) == {(ANN, 1), (BOB, 2)}
    assert addresses.all_beside(c) == {(ANN, 3), (BOB, 4)}
    addresses.drop_entries(c, ANN)
    assert (addresses.all_objections(c), addresses.all_beside(c)) == ({(BOB, 2)}, {(BOB, 4)})


# -- what stays of the deleted and the erased --------------------------------------------------------------------------


def test_addresses_of_the_deleted_lead_to_them_until_they_are_taken(c):
    addresses.remember(c, [(T1, ANN, b"masked"), (T1, BOB, b"bob's"), (T2, ANN, b"2")])
    addresses.remember(c, [(T1, ANN, b"other")])
    assert addresses.remembered_of(c, [T1, T2, T3]) == {ANN, BOB}
    assert addresses.any_stays(c)
    assert addresses.stays(c, [b"key"], [T2])
    assert sorted(addresses.take_remembered(c, ANN)) == [(T1, b"masked"), (T2, b"2")]
    assert not addresses.stays(c, [b"key"], [T2])
    assert addresses.take_remembered(c, ANN) == []


def test_of_the_same_objection_the_latest_counts(c):
    assert not addresses.any_stays(c)
    addresses.suppress(c, [(b"k", b"no", 20), (b"k", b"no", 30), (b"k", b"no", 10), (b"l", b"no", 5), (b"l", b"x", 1)])
    addresses.suppress(c, [(b"k", b"no", 29), (b"l", b"no", 50), (b"l", b"x", 1)])
    assert addresses.suppressed_under(c, [b"k"]) == [(b"no", 30)]
    assert sorted(addresses.suppressed_under(c, [b"k", b"l"])) == [(b"no", 50), (b"x", 1)]
    assert addresses.any_stays(c)
    assert addresses.stays(c, [b"k"], [T1])
    assert not addresses.stays(c, [b"m"], [T1])
    addresses.suppress(c, [])
