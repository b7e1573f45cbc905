"""Rows of a pack: which questions each field of one is about, how narrow it is, and what follows where two meet."""

from __future__ import annotations

import pytest

from consent_ledger.consumers.scenarios import run_scenario
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.projections.decision import decide
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.question import Question, classify, parse_question
from consent_ledger.projections.fold.record import new_state
from consent_ledger.projections.fold.world import World

PACK = """
format = 1
controller = "rows"
title = "Rows"
purposes = ["news", "offers", "books"]
marketing = ["news"]
classes = ["carrier", "partner"]
[categories]
personal = ["name", "email"]
anonymous = ["views", "figures"]
[countries]
near = ["CH", "GB"]
far = ["BR"]
"""
CLAUSE = '[[clause]]\nid = "ROW-{number}"\ntitle = "Row {number}"\nrule = "As it says."\n{rows}\n'
EVERY = 'action = ["collect", "use", "contact", "disclose", "transfer"]'
WHEN = "2026-01-02T00:00:00Z"


def told(type_name, day="01-01", *, subject="ann", **data):
    who = {} if type_name.startswith(("recipient.", "policy.", "ownership.")) else {"subject": subject}
    return {"type": type_name, **who, "time": f"2026-{day}T00:00:00Z", "data": data}


GIVEN = [
    told("subject.registered", kind="customer"),
    told("recipient.registered", recipient="post", **{"class": "carrier"}),
    told("recipient.registered", recipient="pal", **{"class": "partner"}),
]


def pack(*clauses):
    """A pack with these clauses, each given by its mechanisms."""
    return PACK + "".join(CLAUSE.format(number=number, rows=rows) for number, rows in enumerate(clauses, 1))


def permit(row, action=EVERY):
    return f"[[clause.permit]]\n{action}\n{row}"


def problems(text, then, given=GIVEN):
    """What is wrong when these are asked, of (question, what is expected)."""
    steps = [{"ask": {"subject": "ann", "at": WHEN, **question}, "expect": expect} for question, expect in then]
    scenario = {"id": "ROW/asked", "controller": "rows", "given": given, "then": steps}
    return run_scenario(scenario, text.encode()).problems


USE, DISCLOSE = {"action": "use", "categories": ["name"]}, {"action": "disclose", "categories": ["name"]}
CONTACT, COLLECT = {"action": "contact", "channel": "email"}, {"action": "collect", "categories": ["name"]}
ABROAD = {"action": "transfer", "categories": ["name"]}
FITS = {  # a row, the questions it is about, and those that it is not about
    "": ([USE, DISCLOSE, CONTACT, COLLECT, {"action": "use"}], [{**USE, "categories": ["views"]}]),
    'information = "any"': ([USE, {**USE, "categories": ["views"]}, {**USE, "categories": ["views", "name"]}], []),
    'information = "anonymous"': (
        [{**USE, "categories": ["views"]}],
        [USE, {"action": "use"}, {**USE, "categories": ["views", "name"]}, {**CONTACT, "categories": ["views"]}],
    ),
    'purpose = ["news"]': ([{**USE, "purpose": "news"}], [USE, {**USE, "purpose": "offers"}]),
    'not_purpose = ["news"]': ([USE, {**USE, "purpose": "offers"}], [{**USE, "purpose": "news"}]),
    'categories = ["name"]': (
        [USE, {"action": "use"}, {**USE, "categories": ["name", "views"]}],
        [{**USE, "categories": ["email"]}, {**USE, "categories": ["email", "views"]}],
    ),
    'any_category = ["name"]': (
        [USE, {**USE, "categories": ["name", "email"]}],
        [{**USE, "categories": ["email"]}, {"action": "use"}],
    ),
    'information = "anonymous"\ncategories = ["views"]': (
        [{**USE, "categories": ["views"]}],
        [{**USE, "categories": ["figures"]}, {**USE, "categories": ["views", "figures"]}],
    ),
    'class = ["carrier"]': ([{**DISCLOSE, "recipient": "post"}], [DISCLOSE, {**DISCLOSE, "recipient": "pal"}]),
    'recipient = ["post"]': ([{**DISCLOSE, "recipient": "post"}], [DISCLOSE, {**DISCLOSE, "recipient": "pal"}]),
    "public = true": ([DISCLOSE], [{**DISCLOSE, "recipient": "post"}]),
    "public = false": ([{**DISCLOSE, "recipient": "post"}], [DISCLOSE]),
    'channel = ["email"]': ([CONTACT], [{**CONTACT, "channel": "sms"}, {"action": "contact"}, USE]),
    'ground = ["dispute"]': ([{**DISCLOSE, "ground": "dispute"}], [DISCLOSE, {**DISCLOSE, "ground": "rights"}]),
    'origin = ["subject"]': ([{**COLLECT, "origin": "subject"}], [COLLECT, {**COLLECT, "origin": "passive"}]),
    "country = true": ([{**ABROAD, "country": "CH"}, {**USE, "country": "BR"}], [ABROAD, USE]),
    "country = false": ([USE], [{**USE, "country": "BR"}]),
    'country_in = ["near"]': ([{**USE, "country": "ch"}], [USE, {**USE, "country": "BR"}, {**USE, "country": "JP"}]),
    'country_not_in = ["near"]': (
        [{**USE, "country": "BR"}, {**USE, "country": "JP"}],
        [USE, {**USE, "country": "gb"}],
    ),
    "transfer = true": ([{**ABROAD, "transfer": "t"}], [ABROAD]),
    "transfer = false": ([ABROAD], [{**ABROAD, "transfer": "t"}]),
}
SOLD = told(
    "ownership.transfer.announced", transfer="t", new_owner="big", kind="merger",
    effective_at="2026-01-01T00:00:00Z", posted=True,
)  # fmt: skip


@pytest.mark.parametrize("row", FITS)
def test_a_row_is_about_what_it_names(row):
    about, not_about = FITS[row]
    then = [(question, {"outcome": "permit", "clauses": ["ROW-1"]}) for question in about]
    then += [(question, {"outcome": "deny"}) for question in not_about]
    assert problems(pack(permit(row)), then, [*GIVEN, SOLD]) == []


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ("", 0),
        ('ground = ["law"]', 8),
        ('on_record_from = "other-source"', 8),
        ('recipient = ["post"]', 4),
        ('class = ["carrier"]', 2),
        ("public = false", 2),
        ("country = false", 2),
        ("transfer = true", 2),
        ('announces = "stored"', 2),
        ('purpose = ["news"]', 1),
        ('not_purpose = ["news"]', 1),
        ('categories = ["name"]', 1),
        ('any_category = ["name"]', 1),
        ('channel = ["email"]', 1),
        ('origin = ["subject"]', 1),
        ('country_in = ["near"]', 3),
        ('country_not_in = ["near"]', 3),
        ('country_in = ["near", "far"]\ncountry_not_in = ["near"]', 4),
        ('ground = ["law"]\non_record_from = "other-source"\nrecipient = ["post"]\npurpose = ["news"]', 21),
        ('needs = [{ need = "opt-in" }]\ninformation = "any"', 0),
    ],
)
def test_how_narrow_a_row_is(row, score):
    (found,) = load_pack(pack(permit(row)).encode()).clause[0].permit
    assert decide.narrowness(found) == score


def test_the_compiled_rows_of_few_packs_are_remembered(monkeypatch):
    monkeypatch.setattr(decide, "_RULES", {})
    monkeypatch.setattr(decide, "_RULES_KEPT", 2)
    loaded = load_pack(pack(permit("")).encode())
    sizes = []
    for action in ("use", "contact", "use", "disclose", "collect"):
        decide.rules_of(loaded, action)
        sizes.append(len(decide._RULES))
    assert sizes == [1, 2, 2, 1, 2]


USED = '[[clause.define]]\nfact = "used"\nevents = [{ type = "service.used" }]\nsays = "used it"'


def test_an_answer_that_rests_on_any_yes_changes_with_each():
    needs = 'needs = [{ need = "any-opt-in" }, { need = "fact", fact = "used" }]'
    text = pack(f'{USED}\n[[clause.permit]]\naction = ["contact"]\npurpose = ["news", "books"]\n{needs}')
    given = [*GIVEN, told("service.used", service="x")] + [
        told("consent.granted", purpose=purpose, basis="express", expires_at=f"2026-02-0{day}T00:00:00Z", **more)
        for day, (purpose, more) in enumerate([("news", {}), *(("books", {"item": f"b{n}"}) for n in range(5))], 2)
    ]
    expect = {"outcome": "permit", "changes_at": "2026-02-07T00:00:00Z"}
    assert problems(text, [({**CONTACT, "purpose": "news"}, expect)], given) == []


def test_a_yes_that_lapsed_cites_the_rule_by_which_it_did():
    lapses = [f"[[clause.lapse]]\nafter_days = {days}" for days in (30, 10, 20)]
    text = pack(permit('needs = [{ need = "opt-in" }]'), *lapses)
    given = [*GIVEN, told("consent.granted", purpose="news", basis="express")]
    question = {**CONTACT, "purpose": "news"}
    over = {
        "outcome": "deny",
        "clauses": {"exactly": ["ROW-1", "ROW-3"]},
        "reason": "Denied by ROW-1, ROW-3: the opt-in of 2026-01-01 counted until 2026-01-11.",
    }
    then = [(question, {"changes_at": "2026-01-11T00:00:00Z"}), ({**question, "at": "2026-01-11T00:00:00Z"}, over)]
    assert problems(text, then, given) == []


BY_CATEGORY = [
    permit(f'categories = ["{one}"]\nneeds = [{{ need = "opt-in" }}]', 'action = ["use", "contact"]')
    for one in ("name", "email")
]


def granted(day, ends):
    data = {"purpose": "news", "basis": "express", "categories": ["name", "email"]}
    return told("consent.granted", day, **data, expires_at=f"2026-{ends}T00:00:00Z")


def refused(**data):
    return [told("consent.refused", "01-08", purpose="news", **data)]


@pytest.mark.parametrize(
    ("words", "categories", "outcome", "changes"),
    [
        ([], ["name"], "permit", "02-06"),
        (refused(), ["name"], "deny", None),
        (refused(expires_at="2026-02-04T00:00:00Z"), ["name"], "deny", "02-04"),
        (refused(categories=["name"]), ["name", "email", "views"], "deny", None),
        (
            refused(categories=["views"]),
            ["name", "email", "views"],
            "permit",
            "02-06",
        ),  # each by itself, without figures
    ],
)
def test_of_many_ends_the_first_that_changes_the_answer_is_found(words, categories, outcome, changes):
    yeses = [granted(f"01-0{number}", f"02-0{number}") for number in range(2, 7)]
    expect = {"outcome": outcome, "changes_at": changes and f"2026-{changes}T00:00:00Z"}
    asked = {"action": "use", "purpose": "news", "categories": categories, "at": "2026-01-10T00:00:00Z"}
    assert problems(pack(*BY_CATEGORY), [(asked, expect)], [*GIVEN, *yeses, *words]) == []


def test_a_no_to_what_goes_despite_it_closes_nothing_else():
    rows = permit('categories = ["name"]\ndespite_no = true', 'action = ["use"]')
    given = [
        *GIVEN,
        *(granted(f"01-0{number}", f"02-0{number}") for number in range(2, 7)),
        *refused(categories=["name"]),
    ]
    asked = {"action": "use", "purpose": "news", "categories": ["name", "email"], "at": "2026-01-10T00:00:00Z"}
    expect = {"outcome": "permit", "changes_at": "2026-02-06T00:00:00Z"}
    assert problems(pack(rows, BY_CATEGORY[1]), [(asked, expect)], given) == []


def test_moments_of_others_are_those_of_messages_and_all_are_later(monkeypatch):
    text = pack('[[clause.forbid]]\naction = ["use", "contact"]\nwhen = [{ need = "quiet", months = 1 }]')
    loaded = load_pack(text.encode())
    case = Case(new_state(["ann"]), World(), lambda _: loaded)
    monkeypatch.setattr(decide, "others_moments", lambda *_: {5})
    monkeypatch.setattr(decide, "clock_ends", lambda *_: [0, 7])
    use, contact = Question("use"), Question("contact")
    found = [decide.turning_points(loaded, case, asked, 0) for asked in ((use,), (contact,), (use, contact), ())]
    assert found == [[7], [5, 7], [5, 7], []]


def test_what_came_since_a_deletion_is_named_where_one_row_looks_at_it():
    closes = '[[clause.forbid]]\naction = ["use", "contact"]\npurpose = ["{}"]\nwhen = [{{ need = "deleted" }}{}]'
    fact = ', { need = "fact", fact = "used" }'
    text = pack(
        USED, closes.format("news", fact), closes.format("books", ""), permit('purpose = ["news", "books", "offers"]')
    )
    given = [*GIVEN, told("deletion.completed", "01-02"), told("service.used", "01-03", service="x")]
    back = "came back on 2026-01-03, after what was deleted on 2026-01-02"
    use = {"action": "use", "at": "2026-01-04T00:00:00Z"}
    then = [
        ({**use, "purpose": "news"}, {"reason": f"Permitted by ROW-4: row 4; {back}."}),
        ({**use, "purpose": "offers"}, {"reason": "Permitted by ROW-4: row 4."}),
        (use, {"reason": "Denied: the question names no purpose; nothing permits it."}),
    ]
    assert problems(text, then, given) == []
    text = pack('[[clause.forbid]]\naction = ["use"]\nwhen = [{ need = "deleted" }]', permit('purpose = ["news"]'))
    lacks = f"Denied: the question names no purpose; {back}; nothing permits it."
    assert problems(text, [(use, {"reason": lacks})], given) == []


@pytest.mark.parametrize(
    ("row", "question", "permits", "forbids"),
    [
        ("", USE, True, True),
        ('purpose = ["news"]', {**USE, "purpose": "news"}, True, True),
        ('purpose = ["news"]', {**USE, "purpose": "offers"}, False, False),
        (
            'categories = ["name"]',
            {**USE, "categories": ["email"]},
            True,
            False,
        ),  # a permission is named as the nearest
        ("country = true", USE, True, False),
        ('ground = ["dispute"]', USE, False, False),
        ('class = ["carrier"]\ncategories = ["name"]', USE, False, False),
        ('on_record_from = "other-source"', USE, True, True),  # what is on record is left open
        ('on_record_from = "other-source"\ncategories = ["name"]', {**USE, "categories": ["email"]}, False, False),
    ],
)
def test_a_row_can_bear_on_what_it_is_about_and_a_permission_on_what_it_is_near_to(row, question, permits, forbids):
    for mechanism, bears in (("permit", permits), ("forbid", forbids)):
        loaded = load_pack(pack(f"[[clause.{mechanism}]]\n{EVERY}\n{row}").encode())
        rules = decide.rules_of(loaded, "use")
        asked = parse_question(question)
        classify(asked, loaded)
        assert [decide.may_bear_on(rule, asked) for rule in (*rules.permit, *rules.forbid)] == [bears], mechanism


def test_two_prohibitions_of_one_clause_are_one_and_each_unless_wants_all():
    closes = '[[clause.forbid]]\naction = ["use"]\n{}'
    fact, yes = '{ need = "fact", fact = "used" }', '{ need = "opt-in" }'
    text = pack(
        USED + "\n" + closes.format(f"when = [{fact}]") + "\n" + closes.format('any_category = ["email"]'),
        closes.format(f"when = [{fact}]\nunless = [{fact}, {yes}]"),
        permit(""),
    )
    given = [*GIVEN, told("service.used", service="x"), told("consent.granted", purpose="books", basis="express")]
    asked = {**USE, "categories": ["email"]}
    both = {
        "outcome": "deny",
        "clauses": {"exactly": ["ROW-1", "ROW-2"]},
        "reason": "Denied by ROW-1, ROW-2: used it on 2026-01-01.",
    }
    one = {"outcome": "deny", "clauses": {"exactly": ["ROW-1"]}}
    assert problems(text, [({**asked, "purpose": "news"}, both), ({**asked, "purpose": "books"}, one)], given) == []


def test_a_gate_wants_all_that_it_needs_and_is_cited_beside_what_it_lets_through():
    gate = '[[clause.gate]]\naction = ["use"]\nneeds = [{ need = "fact", fact = "used" }, { need = "opt-in" }]'
    text = pack(USED, gate, permit(""))
    yes = told("consent.granted", purpose="news", basis="express")
    asked = {**USE, "purpose": "news"}
    lacks = {"outcome": "deny", "clauses": {"exactly": ["ROW-2"]}, "reason": "Denied by ROW-2: no opt-in on record."}
    assert problems(text, [(asked, lacks)], [*GIVEN, told("service.used", service="x")]) == []
    both = {
        "outcome": "permit",
        "clauses": {"exactly": ["ROW-3", "ROW-2"]},
        "because": {"exactly": [{"type": "service.used"}, {"type": "consent.granted"}]},
    }
    assert problems(text, [(asked, both)], [*GIVEN, told("service.used", service="x"), yes]) == []


def test_a_message_about_several_categories_needs_one_row_about_all_of_them():
    given = [*GIVEN, granted("01-02", "02-02")]
    asked = {"purpose": "news", "categories": ["name", "email"]}
    alone = {"outcome": "permit", "clauses": {"exactly": ["ROW-2"]}}
    each = {"outcome": "permit", "clauses": {"exactly": ["ROW-1", "ROW-2"]}}
    then = [
        ({"action": "use", **asked}, {**each, "because": {"exactly": [{"type": "consent.granted"}]}}),
        ({**CONTACT, **asked}, {"outcome": "deny", "clauses": []}),
        ({**CONTACT, **asked, "categories": ["email"]}, alone),
    ]
    assert problems(pack(*BY_CATEGORY), then, given) == []


PAL = {"action": "disclose", "recipient": "pal", "purpose": "news", "categories": ["name"]}


def test_of_rows_that_are_equally_narrow_all_that_deny_are_cited():
    needs = ('{ need = "opt-in" }', '{ need = "recipient-agreement", kind = "confidentiality" }', '{ need = "opt-in" }')
    rows = [permit(f'class = ["partner"]\nneeds = [{need}]') for need in needs]
    agreed = [
        told(f"recipient.agreement.{what}", recipient="pal", kind="confidentiality") for what in ("signed", "ended")
    ]
    asked = {**PAL, "at": "2026-01-10T00:00:00Z"}
    said_no = {"outcome": "deny", "because": {"exactly": [{"type": "consent.refused"}]}}
    each = {"clauses": {"exactly": ["ROW-1", "ROW-2", "ROW-3"]}, **said_no}
    assert problems(pack(*rows), [(asked, each)], [*GIVEN, *refused()]) == []
    both = {"exactly": [{"type": "consent.granted"}, {"type": "recipient.agreement.ended"}]}
    over = {"clauses": {"exactly": ["ROW-1", "ROW-2", "ROW-3"]}, "outcome": "deny", "because": both}
    assert (
        problems(
            pack(*rows), [({**asked, "at": "2026-03-01T00:00:00Z"}, over)], [*GIVEN, *agreed, granted("01-02", "02-02")]
        )
        == []
    )


@pytest.mark.parametrize(
    ("consequence", "words", "expected"),
    [
        ("You get no parcels.", [], []),
        ("You get no parcels.", refused(), {"exactly": [{"clause": "ROW-1", "text": "You get no parcels."}]}),
        (None, refused(), []),
        (None, [], []),
    ],
)
@pytest.mark.parametrize("need", ['{ need = "opt-in" }', '{ need = "fact", fact = "used" }'])
def test_what_a_no_brings_with_it_is_said_where_a_no_denies(consequence, words, expected, need):
    row = f"needs = [{need}]" + (f'\nconsequence = "{consequence}"' if consequence else "")
    asked = {**USE, "purpose": "news", "at": "2026-01-10T00:00:00Z"}
    expect = {"outcome": "deny", "consequences": expected}
    assert problems(pack(permit(row), USED), [(asked, expect)], [*GIVEN, *words]) == []


def test_where_nothing_permits_a_row_about_the_recipient_comes_nearer_than_one_that_is_narrower():
    partners = permit('class = ["partner"]\ncategories = ["email"]')
    post = permit('recipient = ["post"]\ncategories = ["email"]')
    anybody = permit('public = false\npurpose = ["news"]\ncategories = ["email"]\nany_category = ["email"]')
    expect = {"outcome": "deny", "because": [], "reason": "Denied: nothing permits it; {} could have."}
    then = [
        (PAL, {**expect, "reason": "Denied: nothing permits it; ROW-1 could have."}),
        ({**PAL, "recipient": "post"}, {**expect, "reason": "Denied: nothing permits it; ROW-2 could have."}),
    ]
    assert problems(pack(partners, post, anybody), then) == []
    assert problems(pack(post, anybody), [(PAL, {"reason": "Denied: nothing permits it."})]) == []


def test_where_nothing_permits_a_no_that_no_clause_carries_is_not_the_reason():
    asked = {**CONTACT, "purpose": "offers"}
    text = pack(permit('purpose = ["books"]'), '[[clause.objection]]\nscope = "all"')
    none = {"clauses": [], "because": [], "reason": "Denied: nothing permits it."}
    no = told("consent.refused", "01-01", purpose="offers")
    assert problems(text, [(asked, none)], [*GIVEN, no]) == []
    out = {"clauses": ["ROW-2"], "reason": "Denied by ROW-2: opted out of all on 2026-01-01."}
    assert (
        problems(
            text, [(asked, out), ({**USE, "purpose": "offers"}, none)], [*GIVEN, told("optout.recorded", scope="all")]
        )
        == []
    )


NEAR = {  # rows, a question that none permits, the rows that could have, and whether its purpose is missed
    "one about these categories": (
        ['channel = ["post"]\ncategories = ["email"]', 'channel = ["post"]\ncategories = ["name"]'],
        {**CONTACT, "purpose": "news", "categories": ["name"]}, ["ROW-2"], False,
    ),
    "and this recipient": (
        [f'class = ["partner"]\ncountry = true\ncategories = ["{one}"]' for one in ("email", "name")],
        PAL, ["ROW-2"], False,
    ),
    "none about other categories": (['categories = ["email"]'], {**USE, "purpose": "news"}, [], False),
    "but what lists the others of a collection": (
        ['categories = ["email"]'], {**COLLECT, "purpose": "news"}, ["ROW-1"], False,
    ),
    "the narrowest": (
        ['channel = ["post"]', 'channel = ["post"]\npurpose = ["news"]'],
        {**CONTACT, "purpose": "news"}, ["ROW-2"], False,
    ),
    "each clause once": (
        ['channel = ["post"]\n' + permit('channel = ["web"]')], {**CONTACT, "purpose": "news"}, ["ROW-1"], False,
    ),
    "of that ground": (
        ['class = ["partner"]\nground = ["dispute"]\ncategories = ["email"]'],
        {**PAL, "ground": "dispute"}, ["ROW-1"], False,
    ),
    "of no other ground": (['ground = ["dispute"]\ncategories = ["name"]'], PAL, [], False),
    "no notice": (['announces = "stored"\npurpose = ["news"]'], {**CONTACT, "purpose": "news"}, [], False),
    "nothing from others": (['on_record_from = "other-source"'], {**USE, "purpose": "news"}, [], False),
    "no origin": (['origin = ["passive"]'], {**COLLECT, "purpose": "news"}, [], False),
    "a message without a purpose": (['purpose = ["news"]'], CONTACT, [], True),
    "where no row is about one": (['channel = ["post"]'], CONTACT, ["ROW-1"], False),
    "a collection without a purpose": (['purpose = ["news"]'], COLLECT, [], False),
}  # fmt: skip


@pytest.mark.parametrize("case", NEAR)
def test_where_nothing_permits_the_rows_are_named_that_could_have(case):
    rows, question, could, lacks = NEAR[case]
    reason = f"Denied: {'the question names no purpose; ' if lacks else ''}nothing permits it"
    reason += f"; {', '.join(could)} could have." if could else "."
    expect = {"outcome": "deny", "clauses": {"exactly": could} if could else [], "because": [], "reason": reason}
    assert problems(pack(*(permit(row) for row in rows)), [(question, expect)]) == []
