"""The lines of a TOML text: every value is where a reader finds it, however the text is laid out."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.ledger.policy.check.lines import Lines, syntax_errors

KEYS = st.sampled_from(["a", "b-1", "c_2", '"d e"', "'f.g'", '"h#[{\\""'])
NOISE = st.sampled_from(["\n", '# a = 1, [[b]] "\n', "  # '''\n", "\n\n"])
TEXTS = st.sampled_from(
    [
        '"plain"',
        "'it is = so'",
        '"""two\nlines = [1]\n# none"""',
        "'''one ' \n[[no.table]]\n'''",
        '"""ends in quotes"""""',
    ]
)


class Writer:
    """Writes TOML in which every number is the line it stands in."""

    def __init__(self, draw):
        self.draw = draw
        self.text = ""

    def line(self):
        return self.text.count("\n") + 1

    def noise(self):
        if self.draw(st.booleans()):
            self.text += self.draw(NOISE)

    def value(self, depth=0):
        kind = self.draw(st.sampled_from(["number", "number", "text", "array", "table"] if depth < 3 else ["number"]))
        if kind == "number":
            self.text += str(self.line())
        elif kind == "text":
            self.text += self.draw(TEXTS)
        elif kind == "array":
            self.text += "["
            for _ in range(self.draw(st.integers(0, 3))):
                self.noise()
                self.value(depth + 1)
                self.noise()
                self.text += ","
            self.noise()
            self.text += "]"
        else:  # on one line, as TOML 1.0 wants it
            keys = self.draw(st.lists(KEYS, max_size=3, unique=True))
            for number, key in enumerate(keys):
                self.text += f"{'{' if not number else ', '}{key} = {self.line()}"
            self.text += "}" if keys else "{ }"

    def pairs(self):
        for key in self.draw(st.lists(KEYS, max_size=4, unique=True)):
            self.noise()
            self.text += f"{key}.x = " if self.draw(st.booleans()) else f"{key} = "
            self.value()
            self.text += self.draw(st.sampled_from(["\n", "  # so\n", " \n"]))


@st.composite
def documents(draw):
    writer = Writer(draw)
    writer.pairs()
    for name in draw(st.lists(st.sampled_from(["t", "u", '"v w"']), max_size=3, unique=True)):
        for _ in range(draw(st.integers(1, 3))):
            writer.noise()
            writer.text += f"[[ {name} ]]\n"
            writer.pairs()
            for inner in draw(st.lists(st.sampled_from(["rows", "more.rows"]), max_size=2, unique=True)):
                for _ in range(draw(st.integers(1, 2))):
                    writer.text += f"[[{name}.{inner}]] # deeper\n"
                    writer.pairs()
            if draw(st.booleans()):
                writer.text += f"[{name}.one]\n"
                writer.pairs()
    return writer.text


def numbers(value, path=()):
    """(path, number) of every number in a document."""
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in numbers(inner, (*path, key))]
    if isinstance(value, list):
        return [one for at, inner in enumerate(value) for one in numbers(inner, (*path, at))]
    return [(path, value)] if isinstance(value, int) else []


@given(documents())
def test_every_value_is_where_it_was_written(text):
    lines = Lines(text)
    for path, number in numbers(tomllib.loads(text)):
        assert lines.line(path) == number, (path, text)
        assert lines.line((*path, "not there", 3)) == number


@pytest.mark.parametrize("body", shipped_packs().values(), ids=shipped_packs())
def test_of_a_pack_every_field_stands_in_a_line_that_names_it(body):
    text = body.decode()
    lines, rows = Lines(text), text.split("\n")

    def look(value, path):
        assert not path or isinstance(path[-1], int) or path[-1] in rows[lines.line(path) - 1], path
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in inner:
            look(one, (*path, key))

    look(tomllib.loads(text), ())
    assert lines.line(()) == lines.line(("no such",)) == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a = 1\n[b]\nc = '''\n[ = \n'''\n", []),
        ("a = [\nb = 1\n", [1]),
        ("a = \nb = 1\nc = 'x\n[[d]\n", [1, 3, 4]),
        ("a = 1\n\na = 2\n", [3]),
        ("[b]\nc = {\n  d = 1\n}\ne = 01\n", [2, 5]),
        ("no pack\n", [1]),
    ],
)
def test_every_statement_that_is_no_toml_is_found(text, lines):
    assert [line for line, _ in syntax_errors(text)] == lines
