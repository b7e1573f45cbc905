"""The tables of the embedded store, with triggers that forbid to change or delete what is for ever."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x434C4544  # "CLED", in the file's header
STORE_FORMAT: Final = 4  # the file's user_version; older ones are raised when they are opened for writing
# Addresses of persons whose fields were deleted, and, once erased, what stays of them: a hash and a no.
SUPPRESSION: Final = (
    "CREATE TABLE addresses (tag BLOB, person TEXT, masked BLOB NOT NULL, PRIMARY KEY (tag, person)) WITHOUT ROWID",
    "CREATE INDEX addresses_by_person ON addresses (person)",
    "CREATE TABLE suppressed (key BLOB, said BLOB, since INTEGER NOT NULL, PRIMARY KEY (key, said)) WITHOUT ROWID",
)
# The addresses of those who are there, and entries that an answer looks at beside a person's state:
# `ledger.intake.addresses`.
ADDRESSES: Final = (
    """CREATE TABLE living (
        person TEXT, position INTEGER, tag BLOB, kind TEXT NOT NULL, how TEXT NOT NULL, bound BLOB NOT NULL,
        PRIMARY KEY (person, position, tag)) WITHOUT ROWID""",
    "CREATE INDEX living_by_tag ON living (tag, person)",
    "CREATE TABLE shared (tag BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE noes (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
    "CREATE TABLE beside (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
)
# The newest entry of every stream: what an index of entries has lost is missed, and a tip is found at once.
STREAMS: Final = (
    "CREATE TABLE streams (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, leaf BLOB NOT NULL) WITHOUT ROWID"
)
# Entries that name another person than the one they are about, by that person.
MENTIONS: Final = (
    "CREATE TABLE mentions (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
)
# Whom a refused event names besides its subject: another name, a customer.
REFUSED_NAMES: Final = (
    "CREATE TABLE refused_names (alias BLOB, position INTEGER, PRIMARY KEY (alias, position)) WITHOUT ROWID"
)
# What letters say, by keyed hash; of persons, the letters with a value that nobody can read any more, and past letters.
LETTERS: Final = (
    "CREATE TABLE letter_words (word BLOB, letter INTEGER, PRIMARY KEY (word, letter)) WITHOUT ROWID",
    "CREATE INDEX letter_words_by_letter ON letter_words (letter)",
    "CREATE TABLE letter_persons (person TEXT, letter INTEGER, PRIMARY KEY (person, letter)) WITHOUT ROWID",
    "CREATE TABLE past_letters (person TEXT, handle BLOB, PRIMARY KEY (person, handle)) WITHOUT ROWID",
)
# Until when, in force, the fields of a person are deleted: what is told late of a time before is not kept.
DELETED: Final = "CREATE TABLE deleted (person TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID"
# Texts as persons were shown them, exact bytes.
DOCUMENTS: Final = (
    "CREATE TABLE documents (sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID"
)
SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # The log. `leaf` is the RFC 6962 leaf hash of `state`, kept so that a flipped byte can be named.
    """CREATE TABLE entries (
        position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
        type TEXT NOT NULL, leaf BLOB NOT NULL, state BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX entries_by_stream ON entries (stream, version)",
    STREAMS,
    """CREATE TABLE subtrees (
        level INTEGER, number INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, number)) WITHOUT ROWID""",
    """CREATE TABLE head (
        one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL,
        recorded_at INTEGER NOT NULL, checkpoint TEXT NOT NULL, edge BLOB NOT NULL)""",
    # Idempotency: the key outlives erasure, the content digest does not.
    "CREATE TABLE keys (key BLOB PRIMARY KEY, position INTEGER NOT NULL, digest BLOB) WITHOUT ROWID",
    """CREATE TABLE refused (
        key BLOB, digest BLOB, person_key BLOB, position INTEGER NOT NULL, PRIMARY KEY (key, digest)) WITHOUT ROWID""",
    "CREATE INDEX refused_by_person ON refused (person_key) WHERE person_key IS NOT NULL",
    REFUSED_NAMES,
    # The vault.
    "CREATE TABLE people (person TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID",
    # `bound`: a keyed tag over alias and person, so that no name can be made to lead to another person.
    # `word`: by which letters that say the name are found, also once nobody can read it any more.
    """CREATE TABLE aliases (
        alias BLOB PRIMARY KEY, person TEXT NOT NULL, sealed BLOB, bound BLOB, word BLOB) WITHOUT ROWID""",
    "CREATE INDEX aliases_by_person ON aliases (person)",
    "CREATE TABLE secrets (position INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
    *MENTIONS,
    *SUPPRESSION,
    *ADDRESSES,
    # What the door looks at.
    "CREATE TABLE packs (sha256 TEXT PRIMARY KEY, controller TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE controllers (controller TEXT PRIMARY KEY, pack_sha256 TEXT NOT NULL, bound BLOB) WITHOUT ROWID",
    "CREATE TABLE recipients (controller TEXT, recipient TEXT, PRIMARY KEY (controller, recipient)) WITHOUT ROWID",
    "CREATE TABLE aged (person TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE links (one TEXT, other TEXT, PRIMARY KEY (one, other)) WITHOUT ROWID",
    """CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, received_at INTEGER NOT NULL,
        origin TEXT NOT NULL, line INTEGER, field TEXT NOT NULL, reason TEXT NOT NULL, bytes INTEGER NOT NULL,
        sealed BLOB NOT NULL)""",
    *LETTERS,
    DELETED,
    DOCUMENTS,
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are never changed'); END"
        for table in ("entries", "subtrees")
        for verb in ("UPDATE", "DELETE")
    ),
)
