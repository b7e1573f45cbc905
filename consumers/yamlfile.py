"""A YAML file of somebody else's: looked through before anything is made of it.

YAML can say much in little. An anchor that is used nine times in another that is used nine times makes a million values
of a hundred bytes; brackets in brackets exhaust the stack; of a key that stands twice one is lost in silence. So the
events of the parser are counted first, at a fraction of what loading takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from yaml import events as ye

from consumers.mistakes import ScenarioFileError
from ledger.files import read_at_most
from ledger.limits import SCENARIO_DEPTH_LIMIT, SCENARIO_LIMIT_BYTES, SCENARIO_VALUE_LIMIT
from ledger.times import format_time, from_datetime

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
                self._add(event, size)
            case ye.ScalarEvent():
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

    def _note_key(self, event: ye.ScalarEvent) -> None:
        inner = self.open[-1] if self.open else None
        if inner is None or inner.keys is None or inner.children % 2:
            return
        if event.value in inner.keys:
            raise self._wrong(event, "a key stands twice: of two values one would be lost")
        inner.keys.add(event.value)

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
        document = yaml.load(body, Loader=_LOADER)  # noqa: S506  a safe loader, in C where there is one
    except yaml.YAMLError as error:
        raise ScenarioFileError(f"{file}: not YAML ({' '.join(str(error).split())[:200]})") from None
    except (ValueError, OverflowError) as error:  # 2026-02-30, a number of thousands of digits
        raise ScenarioFileError(f"{file}: holds a value that is none ({error}): quote it") from None
    return _plain(document)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(from_datetime(value)) if value.tzinfo else value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
