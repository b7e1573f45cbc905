"""What is printed: safe for a terminal, for a spreadsheet and for whoever reads it by machine; no time is ever cut."""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata

import orjson
import pytest
from rich.cells import cell_len
from rich.console import Console

from consent_ledger.consumers import show

TIME = "2026-01-02T03:04:05.123456Z"
STEERING = [
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)),
    *"\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066"
    "\u2067\u2068\u2069\u3164\ufe0f\ufeff\uffa0\ufff9\U000e0001\U000e0041\U000e0100\ud800\udfff\udcff",
]  # fmt: skip
FINE = "Zoë, Łódź, 東京, שלום, مرحبا, नमस्ते, 😀, [bold]x[/bold], 100 %"


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def __init__(self):
        super().__init__()
        self.buffer = self
        self.raw = b""

    def isatty(self):
        return True

    def write(self, text):
        if isinstance(text, bytes):
            self.raw += text
            text = text.decode()
        return super().write(text)


def on_a_terminal(monkeypatch, work, columns=60):
    """What some work prints on a terminal of so many columns."""
    out = Terminal()
    monkeypatch.setenv("TERM", "dumb")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(show, "console", lambda: Console(width=columns, height=25, highlight=False))
        work()
    return out


@pytest.mark.parametrize("one", STEERING, ids=ascii)
def test_what_steers_or_hides_is_escaped(one):
    said = show.harmless(f"a{one}b")
    assert said.isascii()
    assert said.isprintable()
    assert said.startswith("a\\")
    assert one not in show.cell_of_csv(f"a{one}b")


def test_every_character_that_unicode_calls_control_or_format_is_escaped():
    for number in range(0x110000):
        shows = number in range(0x600, 0x900) or number in (0x110BD, 0x110CD)  # signs before numbers, in some scripts
        if unicodedata.category(chr(number)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and (not shows or number == 0x61C):
            assert show.harmless(chr(number)).isascii(), hex(number)


def test_text_of_any_language_stays_as_it_is():
    assert show.harmless(FINE) == show.harmless_lines(FINE) == FINE
    assert show.harmless_lines("a\nb\x1b") == "a\nb\\x1b"
    assert show.harmless("a\nb") == "a\\nb"
    assert show.harmless("\udcff") == "\\xff"  # a byte that is no UTF-8


@pytest.mark.parametrize("one", [one for one in STEERING if not "\ud800" <= one <= "\udfff"], ids=ascii)
def test_json_says_the_same_and_steers_nothing(one):
    value = {f"name{one}": [f"a{one}b", 1, None]}
    for pretty in (False, True):
        text = show.as_json(value, pretty=pretty)
        assert orjson.loads(text) == value
        assert one == "\n" or one.encode() not in text


def test_json_holds_half_of_a_pair_too():
    for pretty in (False, True):
        assert json.loads(show.as_json({"a": "\ud800", "b": "\x7f\u202e"}, pretty=pretty)) == {
            "a": "\ud800",
            "b": "\x7f\u202e",
        }
        assert show.as_json({"a": "\ud800", "b": "\x7f\u202e"}, pretty=pretty).isascii()
    assert b"\x7f" not in show.as_json({"a": "\ud800\x7f"})


# -- csv ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\uff1d1+1", "\uff0d1"])
def test_no_cell_is_a_formula(formula):
    for cell in (formula, [formula], {formula: 1}):
        text = show.as_csv([{"a": cell}], ("a",)).decode()
        ((_,), (came,)) = csv.reader(io.StringIO(text))
        assert came.startswith("'")
        assert came[1:].startswith(formula)


def test_numbers_times_and_what_is_not_there_stay_plain():
    text = show.as_csv([{"n": -5, "t": TIME, "b": True, "none": None, "l": ["a", "b"]}], ("n", "t", "b", "none", "l"))
    assert text.decode() == f'n,t,b,none,l\n-5,{TIME},yes,,"a, b"\n'


def test_a_table_without_rows_has_its_header(capsysbinary):
    show.print_rows("x", [], ("a", "b"), "csv")
    assert capsysbinary.readouterr().out == b"a,b\n"


# -- tables ------------------------------------------------------------------------------------------------------------

LONG = "long words " * 30
ROWS = [{"time": TIME, "other": TIME, "person": "0" * 32, "says": LONG}, {"time": None, "says": "\x1b[31m[bold]"}]


def test_nothing_is_wrapped_where_no_terminal_reads_it(capsys):
    show.print_rows("title " * 50, ROWS, ("time", "other", "person", "says"))
    title, header, first, second = capsys.readouterr().out.splitlines()
    assert (title.strip(), header.split()) == (("title " * 50).strip(), ["time", "other", "person", "says"])
    assert first == f"{TIME}  {TIME}  {'0' * 32}  {LONG.rstrip()}"
    assert second.split() == ["-", "-", "-", "\\x1b[31m[bold]"]


def test_columns_stand_under_each_other_whatever_stands_in_them(capsys):
    show.print_rows("x", [{"a": "東京", "b": "1"}, {"a": "abc", "b": "2"}], ("a", "b"))
    assert capsys.readouterr().out.splitlines()[1:] == ["a     b", "東京  1", "abc   2"]


def test_on_a_terminal_words_are_folded_and_no_time_is_cut(monkeypatch):
    columns = ("time", "other", "person", "says")
    terminal = on_a_terminal(monkeypatch, lambda: show.print_rows("title", ROWS, columns), 130)
    lines = terminal.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 130
    whole = next(line for line in lines if line.startswith(TIME))
    assert whole.split()[:3] == [TIME, TIME, "0" * 32]
    assert len(lines) > 10  # the words were folded
    assert "\x1b[31m" not in terminal.getvalue()


def test_a_table_that_does_not_fit_the_terminal_is_printed_row_by_row(monkeypatch):
    columns = ("time", "other", "person", "says")
    said = on_a_terminal(monkeypatch, lambda: show.print_rows("title", ROWS, columns)).getvalue()
    lines = said.splitlines()
    assert lines[1:4] == [f"time    {TIME}", f"other   {TIME}", f"person  {'0' * 32}"]
    assert lines[4].startswith("says    long words long")
    assert lines[-5:] == ["", "time    -", "other   -", "person  -", "says    \\x1b[31m[bold]"]
    assert max(map(cell_len, lines[1:])) <= 60


def test_on_a_terminal_no_word_and_no_digest_is_cut(monkeypatch):
    digest, kinds = "a1" * 32, ("ownership.transfer.completed", "consent.granted")
    listed = [{"sha": digest, "type": kind, "says": LONG} for kind in kinds]
    for room in (40, 60, 110, 120, 300):
        out = on_a_terminal(monkeypatch, lambda: show.print_rows("title", listed, ("sha", "type", "says")), room)
        said = out.getvalue()
        assert said.count(digest) == 2
        assert all(kind in said for kind in kinds)
        assert len(said.splitlines()) > 4


def test_values_of_one_field_are_not_taken_for_fields(capsys):
    data = {"categories": ["name", "email"], "purpose": "delivery"}
    show.print_rows("x", [{"data": data, "words": [data, {"a": "b"}]}], ("data", "words"))
    said = "categories name + email, purpose delivery"
    assert capsys.readouterr().out.splitlines()[-1] == f"{said}  {said}; a b"


def test_exact_bytes_stay_exact_but_for_a_terminal(capsysbinary):
    show.write(b"a\x1b[31m\xff\n")
    assert capsysbinary.readouterr().out == b"a\x1b[31m\xff\n"


def test_exact_bytes_are_harmless_on_a_terminal(monkeypatch):
    terminal = on_a_terminal(monkeypatch, lambda: show.write(b"a\x1b[31m\xff\n"))
    assert terminal.raw == b"a\\x1b[31m\\xff\n"
