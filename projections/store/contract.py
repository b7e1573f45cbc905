"""What the projector asks of where its rows are at rest.

What MUST hold of each, and what `tests/contract/test_projections.py` tries on each:

    together     rows and the cursor that says up to where they are folded are written in one transaction, or not at all
    one at once  a transaction waits for that of another process, and sees what that one wrote
    whole        `take_over` puts all rows of another one in place of all that were there, in one transaction
    expendable   it may be removed at any time: it is there again, empty, and folded anew

Rows go in and come out as they are: what they say and whether they are genuine is for `projections.read.projector`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol

PAGE: Final = 1_000  # rows that are read at a time by whoever looks at all of them
TIMEOUT_SECONDS: Final = 10  # of waiting for another process that folds
PERSON: Final = "person, controller, entries, last_time, last_recorded, linked, tip, snapshot, tag"
JUDGED: Final = "person, tip, about, findings, permitted_by, tag"

Columns = tuple[Any, ...]


class ProjectionStore(Protocol):
    """Rows of persons, what was judged of them, and the cursor. Any thread may use it.

    Made with `kind`, a number of how rows are written: rows of another one are not read as ours.
    """

    def close(self) -> None:
        """Let go of it. Whoever asks afterwards gets Closed."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turns the errors of the driver into those of `ledger.errors`."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Write, or nothing. Waits for another process that does; raises StoreBusy where that goes on too long."""
        ...

    # -- reading -------------------------------------------------------------------------------------------------------

    def cursor(self) -> tuple[int, bytes]:
        """(the next position to fold, the log's root there)."""
        ...

    def person(self, person: str) -> Columns | None:
        """A person's row, None where there is none."""
        ...

    def persons(self, controller: str) -> tuple[int, bytes, list[str]]:
        """(cursor, root there, the persons of a controller and of nobody, in order), of one moment."""
        ...

    def judged(self, person: str, tip: bytes, about: bytes) -> Columns | None:
        """What was judged of a person at exactly these last entries, None where that is not there."""
        ...

    def pages(self, table: Literal["people", "judged"]) -> Iterator[list[Columns]]:
        """All rows of a table, in order of the persons, a page at a time."""
        ...

    def snapshots(self) -> Iterator[list[tuple[str, int, bytes]]]:
        """(person, entries, snapshot) of all persons, in order, a page at a time."""
        ...

    # -- inside a transaction ------------------------------------------------------------------------------------------

    def require_kind(self) -> bool:
        """Begin anew where what is there is not of this kind. Requires a transaction. Returns whether it did."""
        ...

    def start_anew(self) -> None:
        """Remove all rows, and begin at the beginning of the log. Requires a transaction."""
        ...

    def cursor_inside(self) -> tuple[int, bytes]:
        """As `cursor`, by what the transaction sees. Requires one."""
        ...

    def person_inside(self, person: str) -> Columns | None:
        """As `person`, by what the transaction sees. Requires one."""
        ...

    def save_page(self, rows: Sequence[Columns], following: int, root: bytes) -> None:
        """Save rows of persons in place of older ones, and up to where they are folded. Requires a transaction."""
        ...

    def save_judged(self, rows: Sequence[Columns]) -> None:
        """Save what was judged in place of what was before. Requires a transaction."""
        ...

    # -- another one beside it -----------------------------------------------------------------------------------------

    def beside(self) -> ProjectionStore:
        """A new one, empty, for `take_over`. Requires that no other rebuild is under way."""
        ...

    def take_over(self) -> None:
        """Put all that is in the one beside in place of all that is here. Requires a transaction."""
        ...

    def remove_beside(self) -> None:
        """Remove the one beside. Requires that nobody has it open."""
        ...
