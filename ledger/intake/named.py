"""The addresses that an event names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

Form = tuple[str, str]  # kind, one form for all spellings
NAME: Final = ""  # in place of a personal field


@dataclass(slots=True)
class Named:
    """The addresses that an event names, by personal field, and under NAME those that its subject's name has in it.

    `edition`: of the pack that says which fields are addresses. `older`: as stores before format 4 compared them, None
    where that was not looked at.
    """

    edition: str
    fields: dict[str, list[Form]] = field(default_factory=dict)
    older: dict[str, Form] | None = None

    @property
    def said(self) -> list[Form]:
        return [form for name, some in self.fields.items() if name != NAME for form in some]
