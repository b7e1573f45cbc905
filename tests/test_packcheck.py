"""`pack check`: every kind of problem is found in its line, a twin that lacks only it is clean, and nothing is found
that some question can reach."""

from __future__ import annotations

import json
import re
from itertools import chain, combinations, count, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from consent_ledger.consumers.cli.app import app
from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.consumers.packs.check import check_file
from consent_ledger.consumers.packs.prose import pack_as_prose
from consent_ledger.consumers.scenarios import load_scenarios, run_scenario
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.interpretations import in_force
from consent_ledger.ledger.policy.load import load_pack, parse_pack
from consent_ledger.projections.analysis.packcheck import check_pack
from consent_ledger.projections.analysis.reachability import Reach
from consent_ledger.projections.analysis.regions import Space
from consent_ledger.projections.decision.decide import _fits, rules_of
from consent_ledger.projections.decision.question import Question, classify

FOLDER = Path(__file__).parent
SCENARIOS = sorted((FOLDER / "scenarios").glob("*.yaml"))
MARK = "# <-"  # marks the line that a problem must name
TINY = """\
format = 1
controller = "shop"
title = "Shop"
purposes = ["order", "news"]
classes = ["carrier", "roaster"]
TOP
[categories]
personal = ["name", "email"]
anonymous = ["views", "cookie"]

[[clause]]
id = "A-1"
title = "Orders and news"
rule = "We use what we know for orders, and for news."
[[clause.permit]]
action = ["use", "contact", "disclose"]
[[clause.permit]]
action = ["collect"]
[[clause.duty]]
kind = "deletion"
due_in_days = 30
"""
CLAUSE = '[[clause]]\nid = "{}"\ntitle = "More"\nrule = "More."\n'


def written(more):
    """The tiny pack with settings and, from a line `== ID` or `[[clause]]` on, clauses."""
    top, clauses = re.match(r"(.*?)(^(?:== |\[\[clause\]\]).*|\Z)", more, re.DOTALL | re.MULTILINE).groups()
    text = TINY.replace("TOP\n", top) + clauses
    return re.sub(r"^== (\S+)$", lambda begun: CLAUSE.format(begun[1]).rstrip(), text, flags=re.MULTILINE)


def found(tmp_path, text, scenarios=None):
    """(line, clause, message) of every problem; and the lines that are marked."""
    path = tmp_path / "shop.toml"
    path.write_text(text)
    if scenarios is not None:
        (tmp_path / "shop.yaml").write_text(scenarios)
    report = check_file(path)
    marked = [number for number, line in enumerate(text.split("\n"), 1) if MARK in line]
    return [(one.line, one.clause, one.message) for one in report.problems], marked


def cases():
    """(name, clause, message, pack with the problem, twin) of each case in the file."""
    for case in (FOLDER / "packcheck_cases.txt").read_text().split("\n=== ")[2:]:
        first, _, rest = case.partition("\n")
        name, clause, said = first.split(": ", 2)
        bad, twin = rest.split("--- twin\n")
        yield pytest.param(None if clause == "-" else clause, said, bad, twin, id=name)


@pytest.mark.parametrize(("clause", "said", "bad", "twin"), list(cases()))
def test_a_problem_is_found_in_its_line_and_its_twin_is_clean(tmp_path, clause, said, bad, twin):
    problems, marked = found(tmp_path, written(bad))
    assert len(marked) == 1
    assert [(line, name) for line, name, _ in problems] == [(line, clause) for line in marked], problems
    assert said in problems[0][2]
    assert found(tmp_path, written(twin)) == ([], [])


NARROW = 'action = ["use", "contact", "disclose"]\npurpose = ["order", "news"]\nclass = ["carrier", "roaster"]'


@pytest.mark.parametrize(
    ("old", "new", "said", "forbid"),
    [
        ('"news"]', '"news", "audit"] # <-', "purposes: no permit fits 'audit' under any", 'purpose = ["audit"]'),
        ('"roaster"]', '"roaster", "press"] # <-', "classes: no permit to disclose fits 'press'", 'class = ["press"]'),
    ],
)
def test_a_word_that_nothing_permits_anything_for_is_found_unless_it_is_forbidden_by_name(
    tmp_path, old, new, said, forbid
):
    text = written("").replace(old, new, 1)
    assert found(tmp_path, text)[0] == []  # the first row is about every purpose and every class
    text = text.replace('action = ["use", "contact", "disclose"]', NARROW)
    text = text.replace('action = ["collect"]', 'action = ["collect"]\npurpose = ["order", "news"]')
    problems, marked = found(tmp_path, text)
    assert [line for line, *_ in problems] == marked
    assert said in problems[0][2]
    assert (
        found(tmp_path, text + written(f"== B-1\n[[clause.forbid]]\naction = ['use']\n{forbid}\n")[len(written("")) :])[
            0
        ]
        == []
    )
    law = '[[clause.permit]]\naction = ["use", "disclose"]\nground = ["law"]\nlaw = true\n'
    assert bool(found(tmp_path, text + law)[0]) is (
        "purposes" in said
    )  # by a ground nobody has a purpose, only a class


# -- the whole file ----------------------------------------------------------------------------------------------------


def test_all_problems_are_found_at_once_in_order_of_lines(tmp_path):
    text = written(
        'advertising_classes = ["carier"] # <-\n'
        "== B-1\n[[clause.permit]]\naction = ['use']\npurpose = ['nws'] # <-\n"
        "[[clause.permit]] # <-\naction = ['use']\npurpose = []\n"
        "== C-1\n[clause.hold]\n[[clause.gate]]\naction = ['use']\nany_category = ['nam'] # <-\nneeds = []\n"
    )
    problems, marked = found(tmp_path, text)
    assert [line for line, *_ in problems] == marked


def test_of_a_pack_that_has_not_the_form_of_one_all_problems_are_found(tmp_path):
    text = written(
        "[personal_fields]\nmail = { category = 'email', adress = 'email' } # <-\n"
        "== B-1\n[[clause.permit]]\naction = ['use']\npurose = ['nws'] # <-\n[[clause.permit]]\naction = ['use']\n"
        "purpose = ['nws'] # <-\n[[clause.duty]]\nkind = 'deletion'\ndu_in_days = 3 # <-\n"
    )
    problems, marked = found(tmp_path, text)
    assert [line for line, *_ in problems] == marked
    worse = text.replace("kind = 'deletion'", "kind = 'deletoin' # <-")
    problems, marked = found(tmp_path, worse)  # words are looked at where all but the names of fields is right
    assert [line for line, *_ in problems] == [one for one in marked if "purpose" not in worse.split("\n")[one - 1]]


def test_every_statement_that_is_no_toml_is_named(tmp_path):
    problems, marked = found(tmp_path, written("== B-1\nnote = 'x # <-\n[[clause.permit] # <-\naction = ['use']\n"))
    assert [line for line, *_ in problems] == marked
    assert all(message.startswith("not TOML: ") for *_, message in problems)
    (tmp_path / "latin").write_bytes("title = 1\ntext = 'é'\n".encode("latin-1"))
    assert str(check_file(tmp_path / "latin")).startswith(f"{tmp_path / 'latin'}:2: not TOML: not UTF-8")


def test_a_reading_with_which_the_pack_cannot_be_in_force_is_found_with_the_rows_that_wait_for_it(tmp_path):
    body = (
        "== B-1\n[clause.interpretation]\ntext = 'x'\nreading = 'a'\nreadings = { a = 'x', b = 'y' }\n"
        "[[clause.permit]] # <-\nreading = 'b'\naction = ['use']\npurpose = ['news']\n"
    )
    change = (
        "[change]\nnotice_purpose = 'news'\njoined_by = [{ type = 'service.used' }]\n"
        "material = { effective = 'posting' }\nother = { effective = 'posting' }\n"
        "stored = [{ clause = 'A-1', reading_of = 'B-1', reading = 'a' }] # <-\n"
    )
    problems, marked = found(tmp_path, written(change + body))
    assert [line for line, *_ in problems] == marked
    assert "with the reading B-1/b: change.stored: 0 of them are in force" in problems[0][2]
    assert "the pack cannot be in force with its reading (readings of B-1)" in problems[1][2]
    other = change.replace("reading = 'a' }", "reading = 'a' }, { clause = 'B-1', reading = 'b' }")
    assert found(tmp_path, written(other + body).replace(MARK, "")) == ([], [])


def test_a_door_rule_is_not_taken_for_the_rule_beside_it(tmp_path):
    plain = "[[clause.forbid]]\naction = ['collect']\nany_category = ['email', 'name']\n"
    door = "[[clause.forbid]] # <-\naction = ['collect']\nany_category = ['email']\ndoor = true\n"
    assert found(tmp_path, written(f"== B-1\n{plain}{door}".replace(MARK, ""))) == ([], [])
    problems, marked = found(tmp_path, written(f"== B-1\n{plain}door = true\n{door}"))
    assert [line for line, *_ in problems] == marked


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('[clause.identification] # <-\nneeds = ["email"]\n', "identification is asked for nothing"),
        ("[clause.hold] # <-\n", "hold has nothing to defer"),
    ],
)
def test_what_is_about_deletions_needs_a_duty_to_delete(tmp_path, row, said):
    text = written(f"== B-1\n{row}")
    assert found(tmp_path, text)[0] == []
    problems, marked = found(tmp_path, text.replace('kind = "deletion"', 'kind = "access"'))
    assert [line for line, *_ in problems] == marked
    assert said in problems[0][2]
    assert 'kind = "deletion"' in problems[0][2]
    # a deletion that is owed without a request is not identified, and deferred all the same
    unasked = text.replace("due_in_days = 30", 'owed_when = { need = "minor", under = 16 }')
    assert bool(found(tmp_path, unasked)[0]) is ("identification" in said)


def test_a_row_that_takes_five_categories_to_reach_is_not_reported(tmp_path):
    """Prohibitions that cover a permit only up to four categories: sets of more are not compared, so not covered."""
    five = ["name", "email", "c", "d", "e"]
    less = ["".join(f'"{one}", ' for one in five if one != left) for left in five]
    rows = [f"== C-{n}\n[[clause.forbid]]\naction = ['use']\ncategories = [{some}]\n" for n, some in enumerate(less)]
    text = written("== B-1\n[[clause.permit]]\naction = ['use']\npurpose = ['news']\n" + "".join(rows))
    assert found(tmp_path, text.replace('"email"]', '"email", "c", "d", "e"]'))[0] == []


def test_collections_of_different_categories_are_no_tie(tmp_path):
    rows = "== B-1\n[[clause.permit]]\naction = ['collect']\ncategories = ['name']\n"
    rows += "== C-1\n[[clause.permit]]\naction = ['collect']\ncategories = ['email']\nneeds = [{ need = 'opt-in' }]\n"
    assert found(tmp_path, written(rows)) == ([], [])
    problems, _ = found(tmp_path, written(rows.replace("['email']", "['email', 'name']")))
    assert "C-1" in [clause for _, clause, _ in problems]


DUE = """
  - id: B-1/due
    controller: shop
    given:
      - {type: subject.registered, subject: ann, time: 2026-01-01T00:00:00Z, data: {kind: visitor}}
      - {type: complaint.lodged, subject: ann, time: 2026-01-02T00:00:00Z, data: {complaint: c-1}}
      - {type: breach.discovered, time: 2026-01-02T00:00:00Z, data: {breach: b-1, categories: [name]}}
      - {type: breach.affected, subject: ann, time: 2026-01-02T00:00:00Z, data: {breach: b-1}}
      - {type: subject.age.learned, subject: ann, time: 2026-01-02T00:00:00Z, data: {age: 3}}
    then:
      - obligations: {subject: ann, at: 2026-01-04T00:00:00Z}
        expect: {exactly: [ROW, ROW, ROW]}
"""


def test_every_duty_runs_its_clock(tmp_path):
    duties = ["'complaint'", "'breach-notice'", "'deletion'\nowed_when = { need = 'minor', under = 16 }"]
    rows = "".join(f"[[clause.duty]]\nkind = {one}\ndue_in_days = 3\n" for one in duties)
    assert found(tmp_path, written(f"== B-1\n{rows}")) == ([], [])
    story_of = DUE.replace("ROW", "{status: running, due: '2026-01-05T00:00:00Z'}")
    late = story_of.replace("at: 2026-01-04", "at: 2026-01-05").replace("running", "overdue").replace("/due", "/late")
    (tmp_path / "x.yaml").write_text(f"scenarios:{story_of}{late}")
    for story in load_scenarios(tmp_path / "x.yaml"):
        assert run_scenario(story, (tmp_path / "shop.toml").read_bytes()).problems == []


# -- scenarios ---------------------------------------------------------------------------------------------------------

READ = (
    "== B-1\n[clause.interpretation]\ntext = 'x'\nreading = 'a'\nreadings = { a = 'x', b = 'y' } # <-\n"
    "[[clause.permit]]\nreading = 'b'\naction = ['use']\npurpose = ['news']\nneeds = [{ need = 'opt-in' }]\n"
)
STORY = """
  - id: {}
    controller: shop
    {}
    given: [{{type: subject.registered, subject: ann, time: 2026-01-01T00:00:00Z, data: {{kind: visitor}}}}]
    then: [{{ask: {{subject: ann, action: use, purpose: news, at: 2026-01-02T00:00:00Z}}, expect: {{outcome: {}}}}}]
"""


def test_a_clause_and_a_reading_without_a_scenario_are_found(tmp_path):
    text = written(READ).replace('id = "A-1"', 'id = "A-1" # <-')
    stories = "scenarios:" + STORY.format("B-1/x", "", "permit")
    problems, marked = found(tmp_path, text, stories)
    assert [line for line, *_ in problems] == marked
    assert problems[0][1:] == ("A-1", "no scenario is about it: none has an id that begins with A-1/")
    assert problems[1][1:] == ("B-1", "no scenario switches to the reading 'b' (readings: {B-1: b})")
    stories += STORY.format("A-1/x", "readings: {B-1: b}", "deny")
    assert found(tmp_path, text, stories)[0] == []
    assert (
        "no scenario is about it (did you mean 'A-11'?)"
        in found(tmp_path, text, stories.replace("A-1/", "A-11/"))[0][0][2]
    )
    assert len(found(tmp_path, text, stories.replace("controller: shop", "controller: another"))[0]) == 3


def test_scenarios_run_under_the_readings_they_switch(tmp_path):
    body = written(READ).encode()
    (tmp_path / "x.yaml").write_text(
        "scenarios:"
        + STORY.format("B-1/as-it-is", "", "permit")
        + STORY.format("B-1/switched", "readings: {B-1: b}", "deny")
        + STORY.format("B-1/wrong", "readings: {B-1: c}", "deny")
    )
    plain, switched, wrong = load_scenarios(tmp_path / "x.yaml")
    assert [run_scenario(one, body).problems for one in (plain, switched)] == [[], []]
    assert run_scenario({**switched, "readings": {}}, body).problems
    assert "has no reading 'c'" in run_scenario(wrong, body).problems[0]
    (tmp_path / "x.yaml").write_text("scenarios:" + STORY.format("B-1/x", "readings: [b]", "deny"))
    with pytest.raises(Exception, match="readings wants CLAUSE: READING"):
        load_scenarios(tmp_path / "x.yaml")


# -- the shipped packs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", sorted(shipped_packs()))
def test_a_shipped_pack_is_clean_and_every_clause_and_reading_has_a_scenario(controller):
    assert str(check_file(Path(controller), SCENARIOS)).endswith(" clauses, no problem found")


def test_the_one_tie_of_the_shipped_packs_is_meant_and_said():
    body = shipped_packs()["parature"].decode()
    said = 'beside = ["PAR-FEEDBACK-1"]'
    assert body.count("beside = ") == 1
    (tie,) = check_pack(parse_pack(re.sub(r"\nbeside = .*", "", body).encode()))
    assert (tie.clause, tie.see) == ("PAR-FEEDBACK-1", (("clause", 10, "permit", 1),))
    assert said in body
    assert "where PAR-FEEDBACK-1 is about the same, each must permit" in pack_as_prose(load_pack(body.encode()))


def test_a_misplaced_note_is_no_reading():
    """What the check found in a shipped pack when it was first run."""
    body = shipped_packs()["whereverworks"].decode()
    note = 'note = "carried by the change setting of the pack"\n'
    problems = check_pack(parse_pack((body.replace(note, "") + note).encode()))
    assert ["WW-CHG-2/note" in one.message for one in problems] == [True]


# -- the command -------------------------------------------------------------------------------------------------------


UNTESTED = " (no scenario file is there or was given: scenarios were not looked at)"


def command(*typed):
    return CliRunner().invoke(app, ["pack", "check", *map(str, typed)])


def test_the_command_prints_each_problem_with_file_and_line(tmp_path):
    bad, good = tmp_path / "bad.toml", tmp_path / "good.toml"
    bad.write_text(written("== B-1\n[[clause.permit]]\naction = ['use']\npurpose = ['nws']\n"))
    good.write_text(written(""))
    said = command(bad, good)
    assert (said.exit_code, said.stdout.splitlines()) == (
        1,
        [
            f"{bad}:27: clause B-1: unknown purpose 'nws' (did you mean 'news'?)",
            f"{good}: shop, 1 clauses, no problem found{UNTESTED}",
        ],
    )
    rows = json.loads(command(bad, "--json").stdout)
    assert rows[0]["problems"] == [
        {"line": 27, "clause": "B-1", "message": "unknown purpose 'nws' (did you mean 'news'?)"}
    ]
    assert command(good).exit_code == 0
    assert command(tmp_path / "nothing.toml").exit_code == 2


def test_scenario_files_are_the_one_beside_or_those_given(tmp_path):
    pack, story = tmp_path / "good.toml", tmp_path / "elsewhere.yml"
    pack.write_text(written(""))
    story.write_text("scenarios:" + STORY.format("A-1/x", "", "permit"))
    plain = f"{pack}: shop, 1 clauses, no problem found\n"
    assert command(pack, "--scenarios", story).stdout == plain
    assert command(pack, story).stdout == plain  # what a shell makes of --scenarios *.yml
    story.rename(tmp_path / "good.yml")
    assert command(pack).stdout == plain
    (tmp_path / "good.yml").write_text("no scenarios")
    assert command(pack).exit_code == 2


# -- against every question --------------------------------------------------------------------------------------------

EDITIONS = count()
PURPOSES, PERSONAL, ANONYMOUS, CLASSES = ("p", "q"), ("a", "b"), ("n",), ("k", "l")
SETS = [frozenset(one) for one in chain(*(combinations((*PERSONAL, *ANONYMOUS), size) for size in range(4)))]
QUESTIONS = [
    Question(action, purpose=purpose, categories=categories, recipient=name, recipient_class=kind, channel=channel,
             country=country)
    for action, purpose, categories, (name, kind), channel, country in product(
        ("collect", "disclose"), (None, *PURPOSES), SETS,
        ((None, None), ("to-k", "k"), ("to-k", "l"), ("other", "k"), ("other", "l")), (None, "email"),
        (None, "FR", "JP", "US"))
]  # fmt: skip


def words(*some):
    return st.lists(st.sampled_from(some), unique=True)


LIMITS = {
    "purpose": words(*PURPOSES),
    "not_purpose": words(*PURPOSES),
    "categories": words(*PERSONAL, *ANONYMOUS),
    "any_category": words(*PERSONAL, *ANONYMOUS),
    "class": words(*CLASSES),
    "recipient": words("to-k"),
    "public": st.booleans(),
    "channel": words("email"),
    "country": st.booleans(),
    "country_in": words("near", "east"),
    "country_not_in": words("near", "east"),
}
NEEDS = st.sampled_from([[], [{"need": "opt-in"}]])


@st.composite
def rows(draw, **more):
    """A row with few limits, so that rows meet."""
    row = {
        "action": draw(st.sampled_from([["collect"], ["disclose"], ["disclose"], ["collect", "disclose"]])),
        "information": draw(st.sampled_from(["personal", "anonymous", "any", "any"])),
        "reading": draw(st.sampled_from([None, None, None, "x", "y"])),
        "reading_of": "A",
    }
    limits = draw(st.lists(st.sampled_from(sorted(LIMITS)), max_size=2, unique=True))
    return row | {name: draw(LIMITS[name]) for name in limits} | {name: draw(one) for name, one in more.items()}


PERMIT = rows(
    needs=NEEDS, despite_no=st.booleans(), law=st.sampled_from([False, False, False, True]), falls_through=st.booleans()
)
FORBID = rows(when=NEEDS, unless=NEEDS)
GATE = rows(needs=NEEDS)
CLAUSES = st.lists(
    st.fixed_dictionaries(
        {
            "permit": st.lists(PERMIT, max_size=3),
            "forbid": st.lists(FORBID, max_size=2),
            "gate": st.lists(GATE, max_size=1),
        }
    ),
    min_size=1,
    max_size=3,
)


def pack_with(clauses):
    """A pack of these rows; its first clause, A, can be read as x or as y."""
    text = {"title": "t", "rule": "r"}
    named = [{"id": "ABC"[number], **text, **clause} for number, clause in enumerate(clauses)]
    named[0]["interpretation"] = {"text": "t", "reading": "x", "readings": {"x": "x", "y": "y"}}
    document = {
        "format": 1, "controller": "c", "title": "t", "purposes": PURPOSES, "classes": CLASSES,
        "categories": {"personal": PERSONAL, "anonymous": ANONYMOUS}, "clause": named,
        "countries": {"near": ["FR"], "east": ["JP", "fr"]},
    }  # fmt: skip
    return pk.Pack.model_validate(document)


def reached(pack):
    """The rows that some question comes to under some reading: the order of `decide`, written out."""
    there = set()
    for reading in "xy":  # an edition of its own: rules are compiled once for each
        read = in_force(pack, {"A": reading}).model_copy(update={"edition": f"generated {next(EDITIONS)}"})
        for question in QUESTIONS:
            classify(question, read)
            rules = rules_of(read, question.action)
            laws = [rule.row for rule in rules.law if _fits(rule, question, None)]
            stop = next((n for n, row in enumerate(laws) if not row.falls_through or not row.needs), None)
            there |= {id(row) for row in (laws if stop is None else laws[: stop + 1])}
            if stop is not None:
                continue
            fit = [rule for rule in rules.forbid if _fits(rule, question, None)]
            closed = set()
            for rule in fit:
                there |= {id(rule.row)} if rule.clause not in closed else set()
                closed |= {rule.clause} if not rule.row.when and not rule.row.unless else set()
            if closed:
                continue
            several = question.action == "collect" and len(question.categories) > 1
            for part in [question.narrowed(one, read) for one in question.categories] if several else [question]:
                permits = [rule for rule in rules.permit if _fits(rule, part, None)]
                there |= {id(rule.row) for rule in permits if rule.narrow == permits[0].narrow}
                there |= {id(rule.row) for rule in rules.gate if _fits(rule, part, None)}
    return there


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(CLAUSES)
def test_no_row_is_reported_that_some_question_reaches(clauses):
    pack = pack_with(clauses)
    there = reached(pack)
    reach = Reach(Space(pack))
    for one in reach.rows:
        if reach.dead(one):
            assert id(one.row) not in there, one.path
        elif one.empty:
            raise AssertionError(one.path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(PERMIT)
def test_a_permit_alone_is_reported_exactly_if_no_question_reaches_it(row):
    pack = pack_with([{"permit": [row]}])
    (one,) = Reach(Space(pack)).rows
    assert one.empty == (not reached(pack))
