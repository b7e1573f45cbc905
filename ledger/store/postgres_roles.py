"""Who may do what in a store in PostgreSQL: its owner and three group roles, as the server itself enforces it.

`SCHEMA_writer` records, deletes and erases. `SCHEMA_projector` reads the log and writes projections. `SCHEMA_reader`
answers: it reads the log and what follows from it, and never what is sealed, nor the keys, nor letters. To it a name
leads to a person only through `person_of`, which wants the keyed hash of that name. Nobody else may anything, and the
owner, who made the store, is needed for nothing that is done every day.

The roles belong to no database but to the server: two schemas of one name in two databases would share them.
"""

from __future__ import annotations

from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.postgres_schema import ERASABLE, TABLES, index_of
from consent_ledger.ledger.store.tables.many import marks_for

GROUPS: Final = ("writer", "projector", "reader")
VERBS: Final = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE", "T": "TRUNCATE"}
# By table, what each of GROUPS may: the first letters of VERBS, "-" for nothing. The owner may everything, which on
# `entries` and `subtrees` triggers stop.
PRIVILEGES: Final[dict[str, tuple[str, str, str]]] = {
    # the log
    "entries": ("SI", "S", "S"),
    "subtrees": ("SI", "S", "S"),
    "streams": ("SIU", "S", "S"),
    "head": ("SU", "S", "S"),
    "turn": ("SU", "S", "S"),
    "meta": ("SIUD", "S", "S"),
    # what was said in packs and texts
    "packs": ("SI", "S", "S"),
    "controllers": ("SIU", "S", "S"),
    "recipients": ("SI", "S", "S"),
    "documents": ("SIU", "S", "S"),
    # what follows from the log, and what an answer looks at beside it
    "mentions": ("SI", "S", "S"),
    "links": ("SI", "S", "S"),
    "aged": ("SI", "-", "S"),
    "deleted": ("SIUD", "-", "S"),
    "noes": ("SID", "-", "S"),
    "beside": ("SID", "-", "S"),
    "living": ("SID", "-", "S"),
    "shared": ("SID", "-", "S"),
    "addresses": ("SID", "-", "S"),
    "suppressed": ("SIU", "-", "S"),
    # the vault
    "people": ("SID", "-", "-"),
    "aliases": ("SIUD", "-", "-"),
    "secrets": ("SID", "-", "-"),
    # what was told, by keyed hashes
    "keys": ("SIU", "-", "-"),
    "refused": ("SIUD", "-", "-"),
    "refused_names": ("SID", "-", "-"),
    # dead letters
    "dead_letters": ("SID", "-", "-"),
    "letter_words": ("SID", "-", "-"),
    "letter_persons": ("SID", "-", "-"),
    "past_letters": ("SID", "-", "-"),
}
PROJECTION: Final = "projection_"  # what the name of a table of projections begins with
OF_PROJECTIONS: Final = ("SIUD", "SIUD", "S")  # a writer folds for itself what it is asked
FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "person_of(bytea)": ("writer", "reader"),  # a writer, too, opens to read
    "write_anew(text)": ("writer",),
}
# Only an owner may have a table written anew. VACUUM FULL cannot be in a function that lends its rights, CLUSTER can.
# It says (VERBOSE) how many rows it had to keep for older transactions: VACUUM FULL keeps them as well.
_WRITTEN_ANEW: Final = """
CREATE OR REPLACE FUNCTION "{schema}".write_anew(which text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ordered text := CASE which {indexes} END;
BEGIN
    IF ordered IS NULL THEN
        RAISE EXCEPTION '% is no table that is written anew', which;
    END IF;
    EXECUTE format('CLUSTER (VERBOSE) "{schema}".%I USING %I', which, ordered);
END $$"""
_PERSON_OF: Final = """
CREATE OR REPLACE FUNCTION "{schema}".person_of(hash bytea) RETURNS TABLE (person text, bound bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT a.person, a.bound FROM "{schema}".aliases a WHERE a.alias = hash;
END $$"""


def privileges(table: str) -> dict[str, str]:
    """What each group may do with a table, by group: letters of VERBS, "" for nothing. Raises KeyError for none."""
    found = OF_PROJECTIONS if table.startswith(PROJECTION) else PRIVILEGES[table]
    return {group: letters.strip("-") for group, letters in zip(GROUPS, found, strict=True)}


def role(schema: str, group: str) -> str:
    """The name of a group's role."""
    return f"{schema}_{group}"


def roles(schema: str) -> list[str]:
    """The names of all of them."""
    return [role(schema, group) for group in GROUPS]


def functions(schema: str) -> list[str]:
    """What makes the functions that run with the owner's rights, for whoever may call them."""
    indexes = " ".join(f"WHEN '{table}' THEN '{index_of(table)}'" for table in ERASABLE)
    return [_PERSON_OF.format(schema=schema).strip(), _WRITTEN_ANEW.format(schema=schema, indexes=indexes).strip()]


def locked(schema: str) -> list[str]:
    """What takes from everybody what PostgreSQL gives to all: that functions may be called."""
    return [f'REVOKE ALL ON FUNCTION "{schema}".{one} FROM PUBLIC' for one in (*FUNCTIONS, "never_changed()")]


def made_roles(schema: str) -> list[str]:
    """What makes the roles that are not there. Only who may make roles can run it."""
    return [
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN "
        f'CREATE ROLE "{name}" NOLOGIN; END IF; '
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        for name in roles(schema)
    ]


def may_be_made(c: Transaction, schema: str) -> bool:
    """Whether the role of a transaction may make other roles, or all are there already."""
    c.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper)) "
        f"OR (SELECT count(*) FROM pg_roles WHERE rolname IN ({marks_for(GROUPS)})) = {len(GROUPS)}",
        roles(schema),
    )
    return bool(c.fetchone()[0])


def granted(schema: str) -> list[str]:
    """What gives each role what PRIVILEGES says, and takes away whatever else it or everybody has. For the owner."""
    names = ", ".join(f'"{name}"' for name in roles(schema))
    made = [
        f"REVOKE ALL ON {kind} FROM PUBLIC, {names}"
        for kind in (f'SCHEMA "{schema}"', *(f'ALL {one} IN SCHEMA "{schema}"' for one in ("TABLES", "FUNCTIONS")))
    ]
    made.append(f'GRANT USAGE ON SCHEMA "{schema}" TO {names}')
    for table in TABLES:
        for group, letters in privileges(table).items():
            if letters:
                verbs = ", ".join(VERBS[one] for one in letters)
                made.append(f'GRANT {verbs} ON "{schema}".{table} TO "{role(schema, group)}"')
    made.append(granted_on_projections(schema))
    for function, groups in FUNCTIONS.items():
        made += [f'GRANT EXECUTE ON FUNCTION "{schema}".{function} TO "{role(schema, one)}"' for one in groups]
    return made


def granted_on_projections(schema: str) -> str:
    """What gives each role that is there what OF_PROJECTIONS says on whatever tables of projections there are."""
    grants = "".join(
        f"IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role(schema, group)}') THEN "
        f'EXECUTE format(\'GRANT {", ".join(VERBS[one] for one in letters)} ON "{schema}".%I TO '
        f'"{role(schema, group)}"\', one); END IF; '
        for group, letters in privileges(PROJECTION).items()
    )
    return (
        "DO $$ DECLARE one text; BEGIN FOR one IN SELECT tablename FROM pg_tables "
        f"WHERE schemaname = '{schema}' AND starts_with(tablename, '{PROJECTION}') LOOP {grants}END LOOP; END $$"
    )


def script(schema: str) -> str:
    """All of it as SQL that can be run any number of times, by who may make roles and is or may become the owner."""
    become = (
        "DO $$ DECLARE owner text; BEGIN SELECT tableowner INTO owner FROM pg_tables "
        f"WHERE schemaname = '{schema}' AND tablename = 'entries'; "
        f"IF owner IS NULL THEN RAISE EXCEPTION 'there is no store in schema {schema}'; END IF; "
        "EXECUTE format('SET LOCAL ROLE %I', owner); END $$"
    )
    made = [*made_roles(schema), become, *functions(schema), *granted(schema)]
    return "".join(f"{one};\n" for one in ("BEGIN", *made, "COMMIT"))
