"""What a state refers to: the entry that says something, and a list by its name."""

from __future__ import annotations

from typing import Any, NamedTuple

from consent_ledger.ledger.identifiers.spellings import list_name


class Ref(NamedTuple):
    """An entry that decided."""

    time: int
    position: int
    type: str
    source: str
    id: str

    @property
    def order(self) -> tuple[int, int]:
        return self.time, self.position

    def to_dict(self) -> dict[str, Any]:
        return {"position": self.position, "type": self.type, "source": self.source, "id": self.id}


def same_list(name: str | None) -> str | None:
    """The name of a list as it is compared: Unicode NFC, without case."""
    if name is None or (name.isascii() and name.islower()):
        return name
    return list_name(name)
