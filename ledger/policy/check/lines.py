"""Where in a TOML text something stands. `tomllib` reads the values and forgets the lines; this reads the lines.

A path is what leads to a value in the document: ("clause", 3, "permit", 1, "needs") for the needs of the second permit
of the fourth clause. Requires a text that `tomllib` takes, except `syntax_errors`, which is for those it does not take.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from consent_ledger.ledger.limits import PACK_DEPTH_LIMIT, PACK_PROBLEM_LIMIT

Path = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING: Final = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"""(?:"{0,2})'  # up to two quotes can stand before the three that close it
    r"|'''[\s\S]*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n]++)*+"'
    r"|'[^'\n]*'"
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[^,\]}#\n]+")  # numbers, dates, true and false
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_STATEMENT: Final = re.compile(r"""^[ \t]*(?:\[{1,2}[^\[\],{}=]+\]{1,2}[ \t]*(?:\#.*)?$|[\w.'"\-]+[ \t]*=)""")
# keys are read in the square of their parts, and none of a pack has more than four
_DOTTED: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:[A-Za-z0-9_-]++[ \t]*+\.[ \t]*+){{{PACK_DEPTH_LIMIT}}}")
_OPAQUE: Final = re.compile(rf"{_STRING.pattern}|#[^\n]*")
TOO_DEEP: Final = f"nested too deep: the limit is {PACK_DEPTH_LIMIT} tables and lists in one another"
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Lines:
    """The lines of one text, from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._seen: tuple[int, int] = (0, 1)  # a place, and its line
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # array of tables -> how many so far
        self._document()

    def line(self, path: Path) -> int:
        """The line of what a path leads to, or of the innermost thing around it that has one.

        A 0 is passed over where there is one table and could be a list of them.
        """
        known: Path = ()
        for part in path:
            if (*known, part) in self._lines:
                known = (*known, part)
            elif part != 0:
                break
        return self._lines.get(known, 1)

    def _document(self) -> None:
        table: Path = ()
        while not self._ended():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _ended(self) -> bool:
        self._take(_BLANK)
        return self._at >= len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"line {self._line()}: not TOML")
        self._at = found.end()
        return found[0]

    def _line(self) -> int:
        place, line = self._seen
        self._seen = self._at, line + self._text.count("\n", place, self._at)
        return self._seen[1]

    def _note(self, path: Path, line: int) -> None:
        self._lines.setdefault(path, line)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the table that the pairs below it stand in."""
        line = self._line()
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        self._take(_BLANK)
        table: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys):
            table = (*table, key)
            self._note(table, line)
            if number < len(keys) - 1 or not several:
                table = (*table, self._tables[table] - 1) if table in self._tables else table
        if several:
            self._tables[table] = self._tables.get(table, 0) + 1
            table = (*table, self._tables[table] - 1)
        self._note(table, line)
        self._take(_BLANK)
        self._at += 2 if several else 1
        return table

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while _DOT.match(self._text, self._at):
            self._take(_DOT)
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        if self._text[self._at] not in "\"'":
            return self._take(_BARE)
        return str(tomllib.loads(f"key = {self._take(_STRING)}")["key"])

    def _pair(self, table: Path) -> None:
        line = self._line()
        for key in self._keys():
            table = (*table, key)
            self._note(table, line)
        self._take(_BLANK)
        self._at += 1  # =
        self._take(_BLANK)
        self._value(table)

    def _value(self, path: Path) -> None:
        """Any value; what is inside an array or an inline table gets a line of its own."""
        self._note(path, self._line())
        first = self._text[self._at]
        if first in "\"'":
            self._take(_STRING)
        elif first in "[{":
            self._at += 1
            number = 0
            while not self._closed("]" if first == "[" else "}"):
                if first == "[":
                    self._value((*path, number))
                    number += 1
                else:
                    self._pair(path)
                self._take(_BLANK)
                self._at += self._text[self._at] == ","
        else:
            self._take(_PLAIN)

    def _closed(self, by: str) -> bool:
        self._take(_BLANK)
        closed = self._text[self._at] == by
        self._at += closed
        return closed


def syntax_errors(text: str) -> list[tuple[int, str]]:
    """(line, what is wrong) of every statement that is no TOML; empty if the whole is TOML.

    `tomllib` stops at the first. So where it does, each statement is read alone; what is wrong only with all of them
    together (a key that stands twice) is the one thing it said.
    """
    dotted = _DOTTED.search(_OPAQUE.sub(_blanked, text))
    if dotted is not None:
        return [(text.count("\n", 0, dotted.start()) + 1, TOO_DEEP)]
    whole = _wrong(text)
    if whole is None:
        return []
    found = []
    for line, statement in _statements(text):
        if (wrong := _wrong(statement)) is not None:
            found.append((line + wrong[0] - 1, wrong[1]))
        if len(found) == PACK_PROBLEM_LIMIT:
            break
    return found or [whole]


def _wrong(text: str) -> tuple[int, str] | None:
    """The first thing that is no TOML."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _said(error, text)
    except RecursionError:
        return 1, TOO_DEEP
    except ValueError as error:  # an integer of thousands of digits
        return 1, str(error)
    return None


def _blanked(found: re.Match[str]) -> str:
    """As many lines as a string or a comment has: a word in place of the one, blanks in place of the other."""
    return re.sub(r"[^\n]", " " if found[0][0] == "#" else "q", found[0])


def _said(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    place = _PLACE.search(str(error))
    line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
    return line, _PLACE.sub("", str(error))


def _statements(text: str) -> list[tuple[int, str]]:
    """(line, statement): a header or a pair, by how its first line looks; with what follows until the next one."""
    found: list[tuple[int, list[str]]] = []
    quoted = False  # within a text of several lines
    depth = 0  # open brackets: what is set in there belongs to the statement
    for number, line in enumerate(text.split("\n"), 1):
        if not found or (not quoted and _STATEMENT.match(line) and not (depth > 0 and line[0] in " \t")):
            found.append((number, []))
            depth = 0
        found[-1][1].append(line)
        quoted ^= (line.count('"""') + line.count("'''")) % 2 == 1
        bare = _STRING.sub("", line).partition("#")[0]
        depth += sum(bare.count(one) for one in "[{") - sum(bare.count(one) for one in "]}")
    return [(number, "\n".join((*lines, ""))) for number, lines in found]
