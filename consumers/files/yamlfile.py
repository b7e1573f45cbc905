"""A YAML file of somebody else's: looked through before anything is made of it.

YAML can say much in little. An anchor that is used nine times in another that is used nine times makes a million values
of a hundred bytes; brackets in brackets exhaust the stack; of a key that stands twice one is lost in silence. So the
events of the parser are counted first, at a fraction of what loading takes. And YAML reads what was meant as text as
something else: `NO` is false, `2026-01-02` a date, `1` and `0x1` one number. What JSON has no value for is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

import yaml
from yaml import events as ye

from consent_ledger.consumers.mistakes import ScenarioFileError
from consent_ledger.ledger.files.durable import read_at_most
from consent_ledger.ledger.limits import SCENARIO_DEPTH_LIMIT, SCENARIO_LIMIT_BYTES, SCENARIO_VALUE_LIMIT
from consent_ledger.ledger.times import format_time, from_datetime

_TRUTHS: Final = frozenset(("yes", "no", "on", "off"))  # YAML 1.1 has no such texts; Norway is one
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun: how many values are in it so far, and (a mapping) which keys."""

    anchor: str | None
    keys: set[str] | None
    size: int = 1
    children: int = 0


@dataclass(slots=True)
class _Count:
    """Counts values as they come; what an anchor repeats counts each time."""

    file: Path
    open: list[_Open] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # of anchors that are whole

    def take(self, event: ye.Event) -> None:
        """Take in one event. Raises ScenarioFileError at the first that goes too far."""
        match event:
            case ye.AliasEvent():
                size = self.sizes.get(event.anchor or "")
                if size is None:
                    raise self._wrong(
                        event, f"*{event.anchor} stands within what it repeats, or before it: write it out"
                    )
                if self._at_key():
                    raise self._wrong(event, f"*{event.anchor} is a key: write it out, so that none is lost")
                self._add(event, size)
            case ye.ScalarEvent():
                if event.implicit[0] and event.value.lower() in _TRUTHS:
                    raise self._wrong(
                        event, f"{event.value} is read as true or false: quote it, or write true or false"
                    )
                self._note_key(event)
                self._add(event, 1, event.anchor)
            case ye.CollectionStartEvent():
                if len(self.open) == SCENARIO_DEPTH_LIMIT:
                    raise self._wrong(event, f"nested too deep: the limit is {SCENARIO_DEPTH_LIMIT}")
                self.sizes.pop(event.anchor or "", None)
                self.open.append(_Open(event.anchor, set() if isinstance(event, ye.MappingStartEvent) else None))
            case ye.CollectionEndEvent():
                closed = self.open.pop()
                self._add(event, closed.size, closed.anchor)
            case _:
                pass

    def _add(self, event: ye.Event, size: int, anchor: str | None = None) -> None:
        if anchor is not None:
            self.sizes[anchor] = size
        if self.open:
            self.open[-1].size += size
            self.open[-1].children += 1
        if size > SCENARIO_VALUE_LIMIT or (self.open and self.open[-1].size > SCENARIO_VALUE_LIMIT):
            raise self._wrong(event, f"more than {SCENARIO_VALUE_LIMIT} values, each repetition by an anchor counted")

    def _at_key(self) -> bool:
        return bool(self.open) and self.open[-1].keys is not None and self.open[-1].children % 2 == 0

    def _note_key(self, event: ye.ScalarEvent) -> None:
        keys = self.open[-1].keys if self._at_key() else None
        if keys is None:
            return
        if event.value in keys:
            raise self._wrong(event, "a key stands twice: of two values one would be lost")
        keys.add(event.value)

    def _wrong(self, event: ye.Event, what: str) -> ScenarioFileError:
        line = event.start_mark.line + 1 if event.start_mark else 1
        return ScenarioFileError(f"{self.file}:{line}: {what}")


def read_yaml(file: Path) -> Any:
    """What a YAML file says, in JSON's values: times as RFC 3339 texts. Raises ScenarioFileError."""
    try:
        body = read_at_most(file, SCENARIO_LIMIT_BYTES)
    except OSError as error:
        raise ScenarioFileError(f"{file}: cannot be read ({error.strerror})") from None
    if len(body) > SCENARIO_LIMIT_BYTES:
        raise ScenarioFileError(f"{file}: more than {SCENARIO_LIMIT_BYTES} bytes: split it into several files")
    try:
        count = _Count(file)
        for event in yaml.parse(body, Loader=_LOADER):
            count.take(event)
        return _plain(yaml.load(body, Loader=_LOADER))  # noqa: S506  a safe loader, in C where there is one
    except yaml.YAMLError as error:
        raise ScenarioFileError(f"{file}: not YAML ({' '.join(str(error).split())[:200]})") from None
    except (ValueError, OverflowError) as error:  # 2026-02-30, a number of thousands of digits
        raise ScenarioFileError(f"{file}: holds a value that is none ({error}): quote it") from None


def _plain(value: Any) -> Any:
    """The value as JSON has it. Raises ValueError for what JSON has not, and for a key that is no text."""
    match value:
        case datetime():
            return format_time(from_datetime(value)) if value.tzinfo else value.isoformat()
        case dict():
            return {_key(key): _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case None | str() | bool() | int():
            return value
        case float() if isfinite(value):
            return value
        case _:
            raise ValueError(f"JSON has no {type(value).__name__} such as {str(value)[:40]}")


def _key(key: Any) -> str:
    """A key, which two that are spelled differently cannot be: `yes` and `true` are one key of YAML's, and no text."""
    if not isinstance(key, str):
        raise ValueError(f"the key {str(key)[:40]} is no text")  # noqa: TRY004  caught as ValueError
    return key
