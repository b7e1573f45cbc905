"""A person's state as bytes and back: of everybody in the made-up stream, in which every type of event comes."""

from consent_ledger.consumers.demo.generator import NOW, generate
from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.fold.record import Collected, new_state
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.read.snapshot import dump, load


def test_every_state_comes_back_as_it_was():
    packs = shipped_packs()
    ledger = memory_ledger(at=lambda: parse_time(NOW))
    for body in packs.values():
        ledger.app.add_pack(body)
    stream = generate(people=100, events=1500, packs=packs)
    ledger.app.record([*stream.events], parse_time(NOW))
    persons = {row["person"] for row in ledger.obligations({})} | {row["person"] for row in ledger.recipients({})}
    seen = set()
    for person in (*ledger.app.persons.values(), *(one for one in persons if one)):
        found = ledger.people.person(person)
        state = ledger.people.newest(found)
        state.own, state.edges = {}, set()  # of linked persons, who are folded from the log
        assert load(dump(state)) == state
        seen |= {name for name in state.__slots__ if getattr(state, name)}
        seen |= {"extended"} if any(one.extended for one in state.requests.values()) else set()
    assert set(state.__slots__) - seen <= {
        "own",
        "edges",
        "deletion_carried",
        "past_requests",
        "kept",
        "archived_until",
        "back",
    }
    assert "extended" in seen


def test_what_came_back_after_a_deletion_comes_back_too():
    state = new_state(["ann"])
    state.back = state.deletion_carried = Ref(1, 2, "service.used", "urn:app", "e1")
    state.kept, state.archived_until = {"transaction": state.back}, 7
    state.collected["email"] = Collected(state.back, state.back, False, 1, current=True, again=True)
    assert load(dump(state)) == state
