"""A store in PostgreSQL: who may do what in it, what is left of the erased, what comes back from a backup."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import socket
import subprocess
from contextlib import closing
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from conftest import NOW, PACKS, PERSON, Clock, accept, event, ndjson, outcome_of, published
from postgres_server import WAIT_SECONDS, Own, Server
from psycopg import errors as pg
from typer.testing import CliRunner

from consent_ledger.consumers import maintenance, opening
from consent_ledger.consumers.cli.app import app as program
from consent_ledger.consumers.health import examine
from consent_ledger.consumers.ingest import ingest
from consent_ledger.ledger.errors import InvalidQuestion, KeyFileError, StoreBehind, StoreReadOnly
from consent_ledger.ledger.intake.dead_letters import drop, listed
from consent_ledger.ledger.intake.documents import add_document, documents
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.store import postgres_roles as roles
from consent_ledger.ledger.store.postgres import PostgresStore
from consent_ledger.ledger.store.postgres_schema import ERASABLE, FOREVER, TABLES

PAGE = Path(__file__).parents[1] / "docs/how-to/run-on-postgresql.md"
STORE = Path(__file__).parents[1] / "ledger/store"
PASSWORD = "not-a-secret"
REFUSED = ("information.collected", {"categories": ["national-id"]}, {"email": "ann@example.com"})
LETTER = {"controller": "parature", "subject": PERSON, "data": {"service": "site"}, "colour": "ann@example.com"}
QUESTION = {"controller": "parature", "subject": PERSON}
CONTACT = {**QUESTION, "action": "contact", "purpose": "newsletter", "channel": "email"}
_numbers = itertools.count()


def ingested(ledger, *bodies):
    """What became of events from a file."""
    return ingest(ledger, BytesIO(ndjson(*bodies)), "test")


class Ledgers:
    """One ledger in a server, opened by roles that may more or less."""

    def __init__(self, server, keys, *, createrole=True):
        self.server, self.keys = server, str(keys)
        self.address = server.schema()
        self.schema = re.search(r"schema=(\w+)", self.address)[1]
        self._opened = []
        may = "CREATEROLE" if createrole else "NOCREATEROLE"
        self.owner = self.login(f"NOSUPERUSER {may}")
        (database,) = server.execute("SELECT current_database()")[0]
        server.execute(f'GRANT CREATE ON DATABASE "{database}" TO {self.owner}')
        with closing(opening.create_ledger(self.of(self.owner), self.keys)):
            pass

    def login(self, what, server=None):
        """A new role that can log in, to this server or another."""
        name = f"{self.schema}_login_{next(_numbers)}"
        (server or self.server).execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {what}")
        return name

    def of(self, role, address=None):
        """The address as a role has it."""
        parts = urlsplit(address or self.address)
        return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))

    def open(self, group, *, address=None, server=None, only_read=False):
        """Open it, or a copy, as a login that is a member of a group."""
        role = self.login(f"IN ROLE {self.schema}_{group}", server)
        how = opening.open_to_read if only_read else opening.open_ledger
        self._opened.append(how(self.of(role, address), self.keys))
        return self._opened[-1]

    def filled(self, group="writer"):
        """Open it as that group, and record two persons with all that one can leave behind."""
        ledger = self.open(group)
        for pack in PACKS.values():
            ledger.app.add_pack(pack)
        accept(ledger, *(published(controller) for controller in sorted(PACKS)))
        for subject in (PERSON, "crm:2"):
            name = subject.replace(":", "-")
            accept(
                ledger,
                event(subject=subject),
                event("subject.linked", subject=subject, personal={"other": f"web:{name}"}),
                *(event(subject=one, personal={"email": f"{name}@example.com"}) for one in (subject, f"web:{name}")),
                event("consent.granted", subject=subject),
                event("optout.recorded", subject=subject),
            )
        assert outcome_of(ledger, event(*REFUSED)).kind == "refused"
        assert ingested(ledger, LETTER).invalid == 1
        return ledger

    def close(self):
        while self._opened:
            self._opened.pop().close()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(opening, "clock", clock)
    return clock


@pytest.fixture
def ledgers(postgres, tmp_path, clock):
    made = Ledgers(postgres, tmp_path / "keys")
    yield made
    made.close()


@pytest.fixture
def own(postgres):
    """A server whose folder can be looked into."""
    if not isinstance(postgres, Own):
        pytest.skip("the server is not one that tests started")
    return postgres


# -- the table of privileges -------------------------------------------------------------------------------------------


PROJECTIONS = {"projection_cursor": "one", "projection_people": "person", "projection_judged": "person"}


def cells():
    """(table, group, verb, whether it may), for all of them."""
    for table in (*TABLES, *PROJECTIONS):
        for group, letters in roles.privileges(table).items():
            for letter, verb in roles.VERBS.items():
                yield table, group, verb, letter in letters


def test_every_table_has_a_row_and_only_tables_have():
    assert set(roles.PRIVILEGES) == set(TABLES)
    assert roles.privileges("projection_of_next_year") == {"writer": "SIUD", "projector": "SIUD", "reader": "S"}
    assert not {verb for table, _, verb, may in cells() if may and (verb == "TRUNCATE" or table in FOREVER)} - {
        "SELECT",
        "INSERT",
    }


def test_a_writer_may_what_the_code_does_and_no_more():
    """What it does stands in the statements of the tables; `turn` is the store's own."""
    text = " ".join(re.sub(r'"\s+f?"', "", path.read_text()) for path in sorted((STORE / "tables").glob("*.py")))
    done = {table: set() for table in TABLES} | {"turn": {"SELECT", "UPDATE"}}
    for pattern, verb in (
        (r"(?:FROM|JOIN) (\w+)", "SELECT"),
        (r"INSERT INTO (\w+)", "INSERT"),
        (r"INSERT INTO (\w+) VALUES [^\"]* ON CONFLICT [^\"]*DO UPDATE", "UPDATE"),
        (r"\"UPDATE (\w+) SET", "UPDATE"),
        (r"DELETE FROM (\w+)", "DELETE"),
    ):
        for table in set(re.findall(pattern, text)) & set(TABLES):
            done[table].add(verb)
    done["head"].discard("INSERT")  # who makes a store is its owner
    may = {table: {roles.VERBS[one] for one in roles.privileges(table)["writer"]} for table in TABLES}
    assert {table: verbs | {"SELECT"} for table, verbs in done.items()} == may


def test_the_servers_catalogue_says_what_the_code_says(ledgers):
    found = ledgers.server.execute(
        "SELECT table_name, grantee, privilege_type FROM information_schema.table_privileges "
        f"WHERE table_schema = '{ledgers.schema}' AND grantee <> '{ledgers.owner}'"
    )
    wanted = {(table, f"{ledgers.schema}_{group}", verb) for table, group, verb, may in cells() if may}
    assert set(found) == wanted
    known = ledgers.server.execute(
        "SELECT tablename, r, v, has_table_privilege(r, format('%I.%I', schemaname, tablename), v) FROM pg_tables, "
        f"unnest(ARRAY{roles.roles(ledgers.schema)}) r, unnest(ARRAY{list(roles.VERBS.values())}) v "
        f"WHERE schemaname = '{ledgers.schema}'"
    )
    assert set(known) == {(table, f"{ledgers.schema}_{group}", verb, may) for table, group, verb, may in cells()}
    functions = ledgers.server.execute(
        "SELECT p.proname, a.grantee::regrole::text FROM pg_proc p, aclexplode(p.proacl) a "
        f"WHERE p.pronamespace = '{ledgers.schema}'::regnamespace AND a.grantee <> p.proowner"
    )
    calls = {("person_of", "reader"), ("person_of", "writer"), ("write_anew", "writer")}
    assert set(functions) == {(name, f"{ledgers.schema}_{group}") for name, group in calls}
    (schema,) = ledgers.server.execute(f"SELECT nspacl::text FROM pg_namespace WHERE nspname = '{ledgers.schema}'")
    assert sorted(re.findall(r"[{,]([^=]*)=(\w+)", schema[0])) == sorted(
        [(ledgers.owner, "UC"), *((name, "U") for name in roles.roles(ledgers.schema))]
    )


def test_the_table_of_the_page_says_what_the_code_says():
    shown = {}
    page = PAGE.read_text().partition("## Roles")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (`[a-z_`, *]+`) \| (.*) \|$", page, re.MULTILINE):
        by_group = [" ".join(sorted(re.findall(r"[A-Z]+", cell))) for cell in row[1].split(" | ")]
        shown.update(dict.fromkeys(re.findall(r"`([a-z_*]+)`", row[0]), by_group))
    wanted = {
        table: [" ".join(sorted(roles.VERBS[one] for one in letters)) for letters in roles.privileges(table).values()]
        for table in (*TABLES, "projection_*")
    }
    assert re.findall(r"`shop_(\w+)` \|", page) == list(roles.GROUPS)
    assert shown == wanted


STATEMENTS = {
    "SELECT": "SELECT 1 FROM {table}",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE": "UPDATE {table} SET {column} = NULL",
    "DELETE": "DELETE FROM {table}",
    "TRUNCATE": "TRUNCATE {table}",
}


def tried(connection, schema, role, verb, table):
    """What becomes of a statement by a session that has taken on a role: None for nothing, else the error."""
    column = PROJECTIONS[table] if table in PROJECTIONS else TABLES[table][0].split()[0]
    connection.execute(f"SET ROLE {role}; SET search_path TO {schema}")
    try:
        connection.execute(STATEMENTS[verb].format(table=table, column=column))
    except psycopg.Error as error:
        return error
    finally:
        connection.rollback()
    return None


def test_every_cell_is_as_the_server_has_it(ledgers):
    with closing(ledgers.filled()), psycopg.connect(ledgers.server._address) as session:
        ledgers.server.execute(f"INSERT INTO {ledgers.schema}.subtrees VALUES (9, 0, 'hash')")
        anybody = ledgers.login("")
        wrong = []
        for table, group, verb, may in cells():
            error = tried(session, ledgers.schema, f"{ledgers.schema}_{group}", verb, table)
            if may == isinstance(error, pg.InsufficientPrivilege):
                wrong.append((table, group, verb, error))
        for table, verb in itertools.product(TABLES, STATEMENTS):
            if not isinstance(tried(session, ledgers.schema, anybody, verb, table), pg.UndefinedTable):
                wrong.append((table, "anybody", verb))  # who may not use a schema does not see what is in it
            error = tried(session, ledgers.schema, ledgers.owner, verb, table)
            stopped = table in FOREVER and verb not in ("SELECT", "INSERT")
            if stopped != ("never changed" in str(error)) or isinstance(error, pg.InsufficientPrivilege):
                wrong.append((table, "owner", verb, error))
        assert wrong == []


def test_a_reader_resolves_one_name_at_a_time_and_calls_nothing_else(ledgers):
    with closing(ledgers.filled()) as ledger:
        alias = ledger.app.vault.alias("parature", PERSON)
        person = ledger.app.person("parature", PERSON)
        bound = ledger.app.vault.bound_name(alias, person)
        reader = ledgers.of(ledgers.login(f"IN ROLE {ledgers.schema}_reader")).partition("?")[0]
        with psycopg.connect(reader, autocommit=True) as db:
            ask = f"SELECT * FROM {ledgers.schema}.person_of(%s)"
            assert db.execute(ask, [alias]).fetchall() == [(person, bound)]
            assert db.execute(ask, [alias[:-1]]).fetchall() == []
            db.execute("CREATE TEMP TABLE aliases (alias bytea, person text, bound bytea)")  # nobody's own is looked at
            db.execute("INSERT INTO aliases VALUES (%s, 'another', '')", [alias])
            db.execute("SET search_path TO pg_temp")
            assert db.execute(ask, [alias]).fetchall() == [(person, bound)]
            with pytest.raises(pg.InsufficientPrivilege):
                db.execute(f"SELECT {ledgers.schema}.write_anew('people')")
        writer = ledgers.of(ledgers.login(f"IN ROLE {ledgers.schema}_writer")).partition("?")[0]
        with psycopg.connect(writer, autocommit=True) as db:
            with pytest.raises(pg.RaiseException, match="entries is no table that is written anew"):
                db.execute(f"SELECT {ledgers.schema}.write_anew('entries')")
            for table in ERASABLE:
                db.execute(f"SELECT {ledgers.schema}.write_anew('{table}')")


# -- lives -------------------------------------------------------------------------------------------------------------


def test_a_writer_lives_the_whole_life(ledgers, tmp_path, clock):
    with closing(ledgers.filled()) as ledger:
        add_document(ledger.app, b"a text", "text/plain")
        assert len(documents(ledger.app)) == 1
        many = [event(subject=f"crm:many-{number}") for number in range(600)]  # by COPY, and subtrees
        accept(ledger, *many)
        assert all(one.duplicate for one in ledger.record(many))
        assert outcome_of(ledger, {**many[0], "time": "2026-01-03T00:00:00Z"}).kind == "conflict"
        accept(ledger, event("recipient.registered"), event("subject.age.learned", {"age": 30}))
        accept(ledger, event("subject.unlinked", personal={"other": "web:crm-4711"}))
        accept(ledger, event("hold.placed", subject="crm:2"), event("hold.released", subject="crm:2"))
        ledger.decide(CONTACT)
        for ask in (ledger.state, ledger.history, ledger.obligations, ledger.findings, ledger.recipients):
            ask(QUESTION)
        assert ledger.evidence(QUESTION)
        accept(ledger, event("deletion.requested", subject="crm:2"), event("deletion.completed", subject="crm:2"))
        accept(ledger, event(subject="crm:2", personal={"email": "new@example.com"}, time=NOW))
        assert maintenance.retry(ledger, None) == (0, 1)
        drop(ledger.app, listed(ledger.app)[0].id)
        ingested(ledger, LETTER)
        erased = ledger.erase(QUESTION)
        assert (len(erased.positions), erased.letters, erased.refused) == (1, 1, 1)
        ledger.erase({**QUESTION, "subject": "crm:2"})
        assert ledger.app.unscrubbed is None
        assert [row for row in examine(ledger) if not row["ok"]] == []
        with pytest.raises(InvalidQuestion, match="no person"):
            ledger.decide(CONTACT)


def test_a_reader_answers_and_says_what_it_may_not(ledgers):
    with closing(ledgers.filled()) as ledger:
        assert ledgers.open("writer", only_read=True).decide(CONTACT) == ledger.decide(CONTACT)
        for only_read in (False, True):
            reader = ledgers.open("reader", only_read=only_read)
            assert reader.app.how == ("ro" if only_read else "role")
            assert reader.decide(CONTACT) == ledger.decide(CONTACT)
            for name in ("state", "history", "obligations", "findings", "recipients"):
                assert getattr(reader, name)(QUESTION) == getattr(ledger, name)(QUESTION), name
            assert reader.refusals({"controller": "parature"}) == ledger.refusals({"controller": "parature"})
            with pytest.raises(StoreReadOnly, match=r"permission denied for table secrets.*as a role that may"):
                reader.evidence(QUESTION)
            with pytest.raises(StoreReadOnly, match=r"permission denied for table keys.*as a role that may"):
                examine(reader)
            with pytest.raises(StoreReadOnly, match="reading only"):
                reader.record([event()])
            with pytest.raises(StoreReadOnly, match="reading only"), reader.app.store.writing():
                pass


def test_a_reader_answers_by_addresses_and_of_the_deleted(ledgers):
    with closing(ledgers.filled()) as ledger:
        shared = {"email": "shared@example.com"}
        accept(ledger, *(event(subject=f"crm:s{n}", personal=shared) for n in range(2)))
        accept(ledger, event("optout.recorded", subject="crm:s0"), event("deletion.completed", subject="crm:2"))
        ledger.erase(QUESTION)
        accept(ledger, event(personal={"email": "crm-4711@example.com"}))
        reader = ledgers.open("reader")
        for subject in ("crm:s0", "crm:s1", "crm:2", PERSON):
            question = {**CONTACT, "subject": subject}
            assert reader.decide(question) == ledger.decide(question), subject


def test_who_has_no_keys_is_told_so(ledgers, tmp_path):
    with closing(ledgers.filled()) as ledger:
        vkey = ledger.app.signer.vkey
    address = ledgers.of(ledgers.login(f"IN ROLE {ledgers.schema}_reader"))
    for how in (opening.open_to_read, opening.open_ledger):
        with pytest.raises(KeyFileError, match="needs a folder for its keys: --keys FOLDER"):
            how(address)
        with pytest.raises(KeyFileError, match="there is no keys folder"):
            how(address, str(tmp_path / "nowhere"))
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(KeyFileError, match="empty"):
            how(address, str(tmp_path / "empty"))
    report = maintenance.check_copy(address, vkey)  # an auditor needs none
    assert report.size == 15
    assert parse_vkey(vkey).name == report.origin


def test_a_projector_folds_the_log(ledgers):
    with closing(ledgers.filled()) as ledger:
        projector = ledgers.open("projector", only_read=True)
        assert projector.projector.catch_up() == ledger.projector.catch_up()
        assert projector.projector.damaged() == []
        with pytest.raises(StoreReadOnly, match="permission denied for function person_of"):
            projector.decide(CONTACT)


def test_somebody_who_may_nothing_is_told_so(ledgers):
    with pytest.raises(StoreReadOnly, match=r"permission denied.*\(open it as a role that may"):
        opening.open_ledger(ledgers.of(ledgers.login("")), ledgers.keys)


def test_the_command_line_makes_a_store_and_answers_a_reader(postgres, tmp_path, clock):
    def run(*args, code=0):
        result = CliRunner().invoke(program, [str(one) for one in args])
        assert result.exit_code == code, result.output
        return result.output

    keys, made = tmp_path / "cli-keys", postgres.schema()
    assert f"keys   {keys}" in run("init", "--store", made, "--keys", keys)
    ledgers = Ledgers(postgres, tmp_path / "keys")
    with closing(ledgers):
        with closing(ledgers.filled()) as ledger:
            vkey = ledger.app.signer.vkey
        reader = ("--store", ledgers.of(ledgers.login(f"IN ROLE {ledgers.schema}_reader")))
        run("decide", PERSON, "--action", "contact", "--purpose", "newsletter", "--channel", "email", *reader, "--keys",
            ledgers.keys, "--controller", "parature", code=1)  # fmt: skip
        assert "permission denied for table keys" in run("doctor", *reader, "--keys", ledgers.keys, code=3)
        assert "holds: 15 entries" in run("verify", "--key", vkey, *reader)


# -- grants afterwards -------------------------------------------------------------------------------------------------


def grants(address, *, code=0):
    result = CliRunner().invoke(program, ["grants", "--store", address])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_where_no_roles_can_be_made_the_printed_sql_makes_them(postgres, tmp_path, clock, caplog):
    caplog.set_level(logging.WARNING, "consent_ledger")
    ledgers = Ledgers(postgres, tmp_path / "keys", createrole=False)
    with closing(ledgers):
        assert "run what consent-ledger grants prints" in caplog.text
        names = f"SELECT count(*) FROM pg_roles WHERE rolname ~ '^{ledgers.schema}_({'|'.join(roles.GROUPS)})$'"
        assert postgres.execute(names) == [(0,)]
        sql = grants(ledgers.address)
        for _ in range(2):
            postgres.execute(sql)
            test_the_servers_catalogue_says_what_the_code_says(ledgers)
        postgres.execute(f"GRANT SELECT ON {ledgers.schema}.people TO {ledgers.schema}_reader")  # by mistake
        postgres.execute(f"GRANT DELETE ON {ledgers.schema}.entries TO PUBLIC")
        postgres.execute(sql)
        test_the_servers_catalogue_says_what_the_code_says(ledgers)
        here = f"pronamespace = '{ledgers.schema}'::regnamespace"
        owners = postgres.execute(f"SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE {here}")
        assert owners == [(ledgers.owner,)]  # never of who may more
        ledgers.filled().erase(QUESTION)


def test_roles_that_are_there_are_used(postgres, tmp_path, clock):
    schema = re.search(r"schema=(\w+)", postgres.schema())[1]
    later = f"{schema.rpartition('_')[0]}_{int(schema.rpartition('_')[2]) + 1}"
    for group in roles.GROUPS:
        postgres.execute(f"CREATE ROLE {later}_{group} NOLOGIN")
    ledgers = Ledgers(postgres, tmp_path / "keys", createrole=False)
    with closing(ledgers):
        assert ledgers.schema == later
        test_the_servers_catalogue_says_what_the_code_says(ledgers)


def test_grants_are_for_a_store_that_is_there_and_no_file(postgres, tmp_path):
    with pytest.raises(pg.RaiseException, match="there is no store in schema"):
        postgres.execute(grants(postgres.schema()))
    assert "a file has no roles" in grants(f"sqlite:///{tmp_path / 'shop.db'}", code=2)


# -- what is left of the erased ----------------------------------------------------------------------------------------

OF_NOBODY = {"entries", "streams", "subtrees", "head", "turn", "packs", "controllers", "documents"}
LEFT = 8  # bytes from which on a value is looked for


def values(server, schema):
    """All byte strings in all tables, but for those that are about nobody."""
    found = set()
    for table in set(TABLES) - OF_NOBODY:
        for row in server.execute(f"SELECT * FROM {schema}.{table}"):
            found |= {one for one in row if isinstance(one, bytes) and len(one) >= LEFT}
    return found


def kept_in(data, needles, left_out=frozenset({"pg_wal", "1", "4"})):
    """Which of these the files of a server hold: {bytes: files}. Without its write-ahead log and its templates."""
    found = {}
    for path in sorted(data.rglob("*")):
        if path.is_file() and not left_out & set(path.relative_to(data).parts):
            body = path.read_bytes()
            for needle in needles:
                if needle[:64] in body or needle[-64:] in body:
                    found.setdefault(needle, []).append(str(path.relative_to(data)))
    return found


def sampled(own):
    """Have the server take its samples of all columns, and write all that it knows to its files."""
    own.execute("ANALYZE")
    own.execute("CHECKPOINT")


def erased_from(own, ledgers, ledger):
    """Erase the person. Returns all bytes that vanished from the tables by that, each of which was in the files."""
    sampled(own)
    before = values(own, ledgers.schema)
    ledger.erase(QUESTION)
    gone = before - values(own, ledgers.schema)
    assert len(gone) > 12
    return gone


def test_no_file_of_the_server_keeps_the_erased(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        ingested(ledger, {**LETTER, "data": {"note": os.urandom(2_500).hex()}})  # beside its row, in pieces
        clear = [b"crm-4711@example.com", b"crm:4711", b"ann@example.com"]
        sampled(own)
        known = values(own, ledgers.schema)
        assert set(kept_in(own.data, known)) == known  # the search finds what is there
        gone = erased_from(own, ledgers, ledger)
        assert ledger.app.unscrubbed is None
        sampled(own)
        assert kept_in(own.data, [*gone, *clear]) == {}
        assert kept_in(own.data, values(own, ledgers.schema))


def test_the_write_ahead_log_is_let_go_of_as_the_page_says(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    own.execute("ALTER SYSTEM SET wal_recycle = off")
    own.execute("SELECT pg_reload_conf()")
    try:
        with closing(ledgers):
            gone = erased_from(own, ledgers, ledgers.filled())
            assert kept_in(own.data / "pg_wal", gone)
            own.execute("SELECT pg_switch_wal()")
            own.execute("CHECKPOINT")
            assert kept_in(own.data / "pg_wal", gone) == {}
    finally:
        own.execute("ALTER SYSTEM RESET wal_recycle")
        own.execute("SELECT pg_reload_conf()")


def test_what_an_older_transaction_still_sees_is_kept_until_it_ends_and_told(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        with psycopg.connect(own._address) as older:
            older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT 1 FROM pg_class LIMIT 1")
            gone = erased_from(own, ledgers, ledger)
            assert re.search(r"aliases.*: \d+ rows .* kept for an older transaction", ledger.app.unscrubbed.why)
            row = next(row for row in examine(ledger) if row["check"] == "files")
            assert (row["ok"], "older transaction" in row["says"]) == (False, True)
            own.execute("CHECKPOINT")
            assert kept_in(own.data, gone)
        assert [row for row in examine(ledger) if not row["ok"]] == []
        own.execute("CHECKPOINT")
        assert kept_in(own.data, gone) == {}


def test_who_reads_an_older_moment_for_a_little_while_is_waited_for(own, tmp_path, clock, monkeypatch):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        with psycopg.connect(own._address) as older:
            older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT 1 FROM pg_class LIMIT 1")
            write_anew, tables = PostgresStore._write_anew, []

            def until_the_last(self, connection, table):
                kept = write_anew(self, connection, table)
                tables.append((table, bool(kept)))
                if len(tables) == len(ERASABLE):
                    older.rollback()
                return kept

            monkeypatch.setattr(PostgresStore, "_write_anew", until_the_last)
            gone = erased_from(own, ledgers, ledger)
        assert ledger.app.unscrubbed is None
        again = tables[len(ERASABLE) :]
        assert again == [(table, False) for table, kept in tables[: len(ERASABLE)] if kept]
        assert 0 < len(again) < len(ERASABLE)
        own.execute("CHECKPOINT")
        assert kept_in(own.data, gone) == {}


def test_a_table_in_use_is_waited_for_only_so_long(own, tmp_path, clock, monkeypatch):
    monkeypatch.setattr("consent_ledger.ledger.store.postgres.REBUILD_SECONDS", 0.05)
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        with psycopg.connect(own._address) as user:
            user.execute(f"SELECT 1 FROM {ledgers.schema}.secrets LIMIT 1")
            ledger.erase(QUESTION)
            assert "secrets is in use" in ledger.app.unscrubbed.why
        accept(ledger, *[event(subject="crm:2")])
        accept(ledger, *[event(subject="crm:2")])  # tried again every now and then, by who records
        assert ledger.app.unscrubbed is None


# -- backups -----------------------------------------------------------------------------------------------------------


def assert_gone(ledgers, server, address):
    """A copy from before the erasure, under the same keys: opened by a writer, the person is gone from it."""
    old = values(server, ledgers.schema)
    ledger = ledgers.open("writer", address=address, server=server)
    with pytest.raises(InvalidQuestion, match="no person"):
        ledger.decide(CONTACT)
    assert ledger.decide({**CONTACT, "subject": "crm:2"}).outcome == "deny"
    with pytest.raises(StoreBehind, match="this is an older copy"):
        ledger.record([event()])
    assert len(old - values(server, ledgers.schema)) > 12
    assert ledger.app.unscrubbed is None
    return ledger, old - values(server, ledgers.schema)


def in_database(address, name):
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"/{name}"))


def test_a_dump_brings_nobody_back(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        dump = own.dump("--schema", ledgers.schema)
        ledger.erase(QUESTION)
        database = f"{ledgers.schema}_copy"
        own.load(dump, database)
        elsewhere = Server(in_database(own._address, database))
        copy, _ = assert_gone(ledgers, elsewhere, in_database(ledgers.address, database))
        assert ledgers.open("reader", address=in_database(ledgers.address, database)).app.how == "role"
        recovered = recover(copy.app, clock())
        assert recovered.erased == 2
        accept(copy, event())
        assert [row for row in examine(copy) if not row["ok"]] == []


def test_a_base_backup_brings_nobody_back(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        ledger = ledgers.filled()
        copy = own.base_backup()
        try:
            ledger.erase(QUESTION)
            address = ledgers.address.replace(f":{own.port}/", f":{copy.port}/")
            _, gone = assert_gone(ledgers, copy, address)
            copy.execute("CHECKPOINT")
            assert kept_in(copy.data, gone) == {}
        finally:
            ledgers.close()
            copy.stop()


def test_a_replica_answers_and_is_not_written(own, tmp_path, clock):
    ledgers = Ledgers(own, tmp_path / "keys")
    with closing(ledgers):
        answer = ledgers.filled().decide(CONTACT)
        login = ledgers.login(f"IN ROLE {ledgers.schema}_writer")
        copy = own.base_backup(replica=True)
        try:
            address = ledgers.of(login, ledgers.address.replace(f":{own.port}/", f":{copy.port}/"))
            with closing(opening.open_ledger(address, ledgers.keys)) as ledger:
                assert ledger.app.how == "role"
                assert ledger.decide(CONTACT) == answer
                with pytest.raises(StoreReadOnly, match="the server is a replica"):
                    ledger.record([event()])
        finally:
            copy.stop()


# -- behind PgBouncer --------------------------------------------------------------------------------------------------


@pytest.fixture
def bouncer(own):
    """The port of a PgBouncer in transaction mode that has two connections to the server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no pgbouncer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = own.folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\npostgres = user=ledger host=127.0.0.1 port={own.port}\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
        "auth_type=any\npool_mode=transaction\ndefault_pool_size=2\n"
    )
    running = subprocess.Popen(
        [program, "-q", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **own._as
    )
    try:
        address = own._address.replace(f":{own.port}/", f":{port}/")
        for _ in range(600):
            try:
                psycopg.connect(address, connect_timeout=WAIT_SECONDS).close()
                break
            except psycopg.OperationalError:
                assert running.poll() is None
        yield port
    finally:
        running.terminate()
        running.wait(WAIT_SECONDS)


def test_behind_pgbouncer_in_transaction_mode(own, bouncer, tmp_path, clock):
    address = own.schema().replace(f":{own.port}/", f":{bouncer}/")
    keys = str(tmp_path / "keys")
    opened = [opening.create_ledger(address, keys), *(opening.open_ledger(address, keys) for _ in range(3))]
    try:
        for pack in PACKS.values():
            opened[0].app.add_pack(pack)
        accept(opened[0], *(published(controller) for controller in sorted(PACKS)))
        for number in range(12):  # four ledgers over two connections
            ledger = opened[number % 4]
            accept(ledger, *(event(subject=f"crm:{number}-{one}") for one in range(200)))
            assert opened[(number + 1) % 4].state({**QUESTION, "subject": f"crm:{number}-7"})
        accept(opened[0], *(event(subject=f"crm:many-{one}") for one in range(600)))
        accept(opened[1], event(personal={"email": "ann@example.com"}))
        opened[2].erase(QUESTION)
        assert [row for row in examine(opened[3]) if not row["ok"]] == []
    finally:
        for ledger in opened:
            ledger.close()
