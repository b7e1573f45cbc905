"""Commands about texts as persons were shown them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    Csv,
    Json,
    Keys,
    Store,
    answer,
    app,
    command,
    examples,
    form,
    named,
)

texts = typer.Typer(help="Texts as persons were shown them.", no_args_is_help=True)
app.add_typer(texts, name="document")


@texts.command("add", epilog=examples("document add statement.html", "document add form.txt --media-type text/plain"))
@command
def document_add(
    file: Annotated[Path, typer.Argument(help="The text, byte by byte.")],
    media_type: Annotated[str | None, typer.Option(help="Such as text/html; default by the name's ending.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Store a text by the SHA-256 of its bytes: a statement, or a form's wording. It must hold nothing personal."""
    from consent_ledger.consumers.maintenance import document_file
    from consent_ledger.ledger.intake.documents import add_document

    body, kind = document_file(file, media_type)  # before the store is opened: this might be its file
    added = add_document(opening.open_ledger(store, keys).app, body, kind)
    line = f"{named(file)}: {added.media_type}, {added.bytes} bytes, sha256 {added.sha256}"
    answer({"file": named(file), **added._asdict()}, line, json=json)


@texts.command("list", epilog=examples("document list", "document list --csv"))
@command
def document_list(store: Store = None, keys: Keys = None, json: Json = False, csv: Csv = False) -> None:
    """All stored texts."""
    from consent_ledger.ledger.intake.documents import documents

    how = form(json=json, csv=csv)
    rows = [one._asdict() for one in documents(opening.open_ledger(store, keys).app)]
    show.print_rows("documents", rows, ("sha256", "media_type", "bytes"), how)


@texts.command("get", epilog=examples("document get 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"))
@command
def document_get(
    sha256: Annotated[str, typer.Argument(help="The text's digest, 64 hex digits.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Print the exact bytes of one; in JSON a byte that is no UTF-8 is escaped."""
    from consent_ledger.ledger.intake.documents import document

    body = document(opening.open_ledger(store, keys).app, sha256)
    if json:
        show.print_json({"sha256": sha256, "text": body.decode(errors="backslashreplace")})
    else:
        show.write(body)
