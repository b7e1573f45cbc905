"""What the fuzzer throws: valid inputs that were mutated, and inputs made from the words of the formats.

Every input is made from a `random.Random` alone and from nothing else: the same seed and number make the same bytes.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
import zipfile
from contextlib import closing, suppress
from copy import deepcopy

import yaml

from consent_ledger.consumers.demo.generator import generate
from consent_ledger.ledger.events.catalogue import TYPES
from consent_ledger.ledger.policy.pack import ACTIONS, Clause, Pack
from consent_ledger.ledger.policy.personal_fields import DEFAULT_NAMES
from consent_ledger.ledger.store.sqlite_schema import APPLICATION_ID
from consent_ledger.projections.decision.question import FIELDS

CONTROLLERS = ("parature", "whereverworks")
SUBJECTS = ("crm:1", "crm:2", "web:ann", "ann@example.com", "José", "Jose\u0301", "x", "", "n" * 201)
TIMES = (
    *("2026-01-02T03:04:05Z", "2026-03-01T00:00:00+01:00", "2025-06-30T12:00:00Z", "2026-05-01T00:00:00.25Z") * 4,
    "2026-01-02t03:04:05.123456789z", "2016-12-31T23:59:60Z", "2026-01-02T03:04:05+05:99",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "2026-01-02", "2030-01-01T00:00:00Z",
)  # fmt: skip
ODD = (
    None, True, False, 0, -1, 1, 150, 2**63, -(2**63), 2**64, 10**400, 1e308, -0.0, 0.5, "", " ", "\0", "\x1b[2J",
    "a\u202eb", "\ufeff",
    "\ud83d", "\U0001f600", "e\u0301" * 40, "a" + "\u0316\u0301" * 2_000, "x" * 5_000, "1 " * 2_000,
    "4111 1111 1111 1111",
    "078-05-1120", "ann@example.com", "+1 202 555 0143", "%2540" * 500, "<" * 2_000, "card 1-" * 300, [], [[]], {},
    {"": ""}, ["x"] * 2_000,
    [[[[[[[[[[[["x"]]]]]]]]]]]], {"a": {"b": {"c": {}}}}, "2026-01-02T03:04:05Z", "newsletter", "email", "product-news",
    "controller:parature", "../../etc/passwd", "'; DROP TABLE entries; --", "NaN", "application/json; charset=utf-8",
    "e30=",
)  # fmt: skip
TOKENS = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u0000", b"\\ud800", b",", b":", b"\n",
    b"\r\n", b"\xef\xbb\xbf", b"null", b"true",
    b"-1", b"1e999", b"9" * 40, b"#", b"=", b"'''", b'"""', b"[[", b"]]", b"&a ", b"*a", b"<<: ", b"- ", b"? ",
    b"!!binary ", b"%", b"@",
    b"\t", b"[" * 300, b"{a=" * 60, b"a." * 40, b"\xcc\x81" * 200, b"PK\x03\x04", b"PK\x05\x06", b"SQLite format 3\x00",
)  # fmt: skip


# -- bytes -------------------------------------------------------------------------------------------------------------


def mutated(rng, body, others=()):
    """The same bytes with one to six things done to them."""
    out = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        place = rng.randrange(len(out) + 1)
        stop = min(len(out), place + rng.choice((1, 2, 8, 64, 1024)))
        match rng.randrange(8):
            case 0 if place < len(out):
                out[place] ^= 1 << rng.randrange(8)
            case 1:
                del out[place:stop]
            case 2:
                out[place:place] = rng.choice(TOKENS)
            case 3:
                out[place:stop] = rng.choice(TOKENS)
            case 4:
                out[place:place] = out[place:stop] * rng.choice((1, 2, 30))
            case 5 if others:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                out[place:stop] = other[start : start + rng.choice((4, 40, 400))]
            case 6:
                del out[place:]
            case _:
                out[place:place] = rng.randbytes(rng.choice((1, 4, 16)))
    return bytes(out)


def noise(rng):
    """Bytes of no format, or tokens of all of them."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.choice((0, 1, 30, 300, 4_000)))
    return b"".join(rng.choice(TOKENS) for _ in range(rng.randrange(200)))


# -- JSON --------------------------------------------------------------------------------------------------------------


def odd(rng, depth=0):
    """A value that need not be what its place wants."""
    if depth < 3 and rng.random() < 0.15:
        if rng.random() < 0.5:
            return [odd(rng, depth + 1) for _ in range(rng.randrange(4))]
        return {word(rng): odd(rng, depth + 1) for _ in range(rng.randrange(4))}
    return deepcopy(rng.choice(ODD)) if rng.random() < 0.6 else word(rng)  # whoever gets it may change it


WORDS = tuple(
    sorted(
        {*DEFAULT_NAMES, *TYPES, *FIELDS, *ACTIONS, *(name for model in TYPES.values() for name in model.model_fields)}
    )
)


def word(rng):
    return rng.choice(WORDS)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from places(one, (*path, number))


def changed(rng, value):
    """A JSON value with something else in one to three places."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice([one for one in places(value) if one] or [()])
        if not path:
            return odd(rng)
        inner = value
        for part in path[:-1]:
            inner = inner[part]
        match rng.randrange(5):
            case 0:
                del inner[path[-1]]
            case 1 if isinstance(inner, dict):
                inner[word(rng)] = inner.pop(path[-1])
            case 2 if isinstance(inner, dict):
                inner[str(odd(rng))[:300]] = odd(rng)
            case 3 if isinstance(inner[path[-1]], str):
                text = inner[path[-1]]
                cut = rng.randrange(len(text) + 1)
                inner[path[-1]] = text[:cut] + str(odd(rng)) + text[cut:]
            case _:
                inner[path[-1]] = odd(rng)
    return value


def as_json(rng, value):
    """JSON of a value, at times with a member given twice or other spellings."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.05:
        text = re.sub(r'("[a-z_]+": [^,{}\[\]]+)', r"\1, \1", text, count=1)
    if rng.random() < 0.1:
        text = text.replace(", ", " ,\t")
    return text.encode(errors="surrogatepass")


class Json:
    """Lines of JSON: mutated as bytes or as values, or made from the words of the contract."""

    def __init__(self, valid, made):
        self.valid = [json.dumps(one).encode() for one in valid]
        self.values, self.made = valid, made

    def mutation(self, rng):
        if rng.random() < 0.5:
            return mutated(rng, rng.choice(self.valid), self.valid)
        return as_json(rng, changed(rng, rng.choice(self.values)))

    def generation(self, rng):
        return noise(rng) if rng.random() < 0.1 else as_json(rng, self.made(rng))


def made_event(rng, subjects=SUBJECTS):
    """An event of a real type with some of its fields, each with a likely or an odd value."""
    name = rng.choice(sorted(TYPES))
    model = TYPES[name]
    data = {
        field.alias or key: likely(rng, field.alias or key, field.annotation)
        for key, field in model.model_fields.items()
        if rng.random() < (0.95 if field.is_required() else 0.3)
    }
    if rng.random() < 0.4:
        names = model.personal_names or tuple(sorted(DEFAULT_NAMES))
        data["personal"] = {rng.choice(names): likely(rng, "email", str) for _ in range(rng.randrange(4))}
    body = {
        "specversion": "1.0", "id": f"f-{rng.randrange(10**9)}", "source": "urn:app:fuzz", "type": name,
        "subject": None if model.about_controller else rng.choice(subjects), "time": rng.choice(TIMES),
        "controller": rng.choice(CONTROLLERS), "data": data,
    }  # fmt: skip
    for key, values in (
        ("actor", ("subject", "guardian", "operator", "system")),
        ("role", ("controller", "processor")),
    ):
        if rng.random() < 0.2:
            body[key] = rng.choice(values)
    return {key: value for key, value in body.items() if value is not None}


_LIKELY = {
    "purpose": ("newsletter", "support", "promotion", "analytics"), "list": ("product-news", "Product-News"),
    "categories": (["email"], ["name", "telephone"], ["national-id"], ["ip-address"]), "channel": ("email", "sms",
    "post"),
    "channels": (["email"], ["email", "sms"]), "version": ("1", "2"), "email": ("ann@example.com", "b@example.com",
    "x"),
    "recipient": ("support-desk", "r"), "recipients": (["support-desk"],), "class": ("service-provider", "partner"),
    "pack_sha256": ("00", "ab" * 32), "text_sha256": ("00",), "basis": ("express", "use"), "service": ("site",
    "support"),
    "request": ("r-1", "r-2"), "hold": ("h-1", "h-2"), "transfer": ("t-1",), "breach": ("b-1",), "complaint": ("c-1",),
    "scope": ("all", "general", "purpose", "list", "recipient", "advertising"), "ground": ("law", "dispute", "fraud"),
    "kind": ("customer", "visitor", "employee", "confidentiality", "merger"), "origin": ("subject", "passive",
    "other-source"),
}  # fmt: skip


def likely(rng, name, annotation):
    if rng.random() < 0.04:
        return odd(rng)
    if name in _LIKELY:
        return rng.choice(_LIKELY[name])
    if "Time" in str(annotation) or name.endswith("_at") or name == "until":
        return rng.choice(TIMES)
    if "bool" in str(annotation):
        return rng.random() < 0.5
    if "int" in str(annotation):
        return rng.choice((0, 1, 12, 17, 40, 151))
    found = re.findall(r"'([^']+)'", str(annotation))
    return rng.choice(found) if found else rng.choice(("a", "b-1", "crm:2"))


def made_question(rng, subjects=SUBJECTS):
    body = {"action": rng.choice(ACTIONS)}
    for name in sorted(FIELDS):
        if rng.random() < 0.15:
            body[name] = rng.choice(TIMES) if name in ("at", "known_at") else likely(rng, name, str)
    if rng.random() < 0.9:
        body |= {"controller": rng.choice(CONTROLLERS), "subject": rng.choice(subjects)}
    return body


def questions(subjects):
    """Valid questions about some people."""
    return [
        {"controller": controller, "subject": subject, "action": action, "purpose": "support", **more}
        for controller in CONTROLLERS
        for subject in subjects
        for action in ACTIONS
        for more in (
            {},
            {"channel": "email"},
            {"categories": ["email", "name"]},
            {"recipient": "support-desk"},
            {"at": "2026-03-01T00:00:00Z", "known_at": "2026-02-01T00:00:00Z"},
        )
    ]


def events(packs):
    """Valid events, from the made-up lives of the demo."""
    return generate(4, 100, 1_000, packs=packs).events


# -- packs -------------------------------------------------------------------------------------------------------------


class Packs:
    """Packs: shipped ones and small ones, mutated by lines and bytes, or made from the names of tables and fields."""

    def __init__(self, valid):
        self.valid = valid

    def mutation(self, rng):
        body = rng.choice(self.valid)
        if rng.random() < 0.5:
            return mutated(rng, body, self.valid)
        rows = body.split(b"\n")
        for _ in range(rng.choice((1, 2, 5))):
            place, other = rng.randrange(len(rows)), rng.randrange(len(rows))
            match rng.randrange(4):
                case 0:
                    rows[place], rows[other] = rows[other], rows[place]
                case 1:
                    rows[place:place] = [rows[other]]
                case 2:
                    rows[place] = re.sub(rb'"[^"]*"', json.dumps(word(rng)).encode(), rows[place], count=1)
                case _:
                    rows[place] = rows[place].partition(b"=")[0] + b"= " + toml(rng, odd(rng))
        return b"\n".join(rows)

    def generation(self, rng):
        if rng.random() < 0.1:
            return noise(rng)
        tables = [
            b'format = 1\ncontroller = "shop"\ntitle = "x"\npurposes = ["order", "news"]\nclasses = ["carrier"]\n'
        ]
        tables += [b'[categories]\npersonal = ["name", "email"]\nanonymous = ["views"]\n']
        for number in range(rng.randrange(1, 8)):
            tables.append(b'[[clause]]\nid = "A-%d"\ntitle = "x"\nrule = "x"\n' % number)
            for name in rng.sample(sorted(Clause.model_fields), rng.randrange(4)):
                tables.append(b"[[clause.%s]]\n" % name.encode() + pairs(rng))
        if rng.random() < 0.3:
            tables.append(b"[%s]\n" % rng.choice(sorted(Pack.model_fields)).encode() + pairs(rng))
        return b"".join(tables)


_ROW = (
    b'action = ["use", "contact"]', b'action = ["disclose"]', b'purpose = ["order"]', b'categories = ["email"]',
    b"law = true",
    b'needs = [{ need = "opt-in", per = ["list"] }]', b'needs = [{ need = "minor", under = 16 }]',
    b'when = [{ need = "deleted" }]',
    b'kind = "deletion"', b"due_in_days = 30", b"due_in_days = 99999999999", b"after_months = 24",
    b"after_months = 120000", b'scope = "all"',
    b'event = "information.collected"', b'needs = "source_name"', b'fact = "f"', b'says = "s"',
    b'class = ["carrier"]', b'about = ["optout"]',
    b'events = [{ type = "service.used", is = "order" }]', b"despite_no = true", b"door = true",
    b'any_category = ["email"]',
)  # fmt: skip


def pairs(rng):
    rows = [rng.choice(_ROW) for _ in range(rng.randrange(5))]
    if rng.random() < 0.2:
        rows.append(word(rng).replace(".", "_").encode() + b" = " + toml(rng, odd(rng)))
    return b"\n".join(rows) + b"\n"


def toml(rng, value):
    if value is None or isinstance(value, dict):
        return rng.choice((b"{}", b"2026-01-02", b"2026-99-99", b"inf", b"0x7f", b"''", b"{ a = 1 }"))
    return json.dumps(value).encode(errors="replace")


# -- scenario files ----------------------------------------------------------------------------------------------------


class Scenarios:
    """Scenario files of one scenario each, mutated as values, as bytes, or made of YAML's own devices."""

    def __init__(self, valid):
        self.values = valid
        self.valid = [self.dumped(one) for one in valid[:200]]

    @staticmethod
    def dumped(value):
        return json.dumps({"scenarios": [value]}).encode()  # JSON is YAML

    def mutation(self, rng):
        if rng.random() < 0.6:
            return self.dumped(changed(rng, rng.choice(self.values)))
        body = rng.choice(self.valid)
        if rng.random() < 0.3:
            body = yaml.safe_dump(json.loads(body)).encode()
        return mutated(rng, body, self.valid)

    def generation(self, rng):
        if rng.random() < 0.1:
            return noise(rng)
        if rng.random() < 0.2:
            return self._devices(rng)
        given = [{**made_event(rng), "controller": "parature"} for _ in range(rng.randrange(6))]
        steps = [{rng.choice(("ask", "publish", "obligations", "findings", "recipients",
        "refusals")): made_question(rng), "expect": odd(rng)}
                 for _ in range(rng.randrange(5))]  # fmt: skip
        return self.dumped({"id": "x", "controller": "parature", "given": given, "then": steps})

    @staticmethod
    def _devices(rng):
        parts = (
            "&a [x, x]", "*a", "&b {<<: *a}", "{<<: [*a, *a]}", "!!set {a}", "!!binary aGk=", "!!float x",
            "2026-01-01", "? [a]\n: b",
            "~", "|\n  text", ">-\n  t", "0o17", "1_000", "12:30:45", "!!omap [a: 1]", "*missing", "&a [*a]",
            "2026-01-02T03:04:05Z",
        )  # fmt: skip
        rows = [f"k{number}: {rng.choice(parts)}" for number in range(rng.randrange(12))]
        return (
            "\n".join(rows)
            + f"\nscenarios:\n - {{id: x, controller: parature, then: [], given: [{rng.choice(parts)}]}}\n"
        ).encode()


# -- zips, stores, journals --------------------------------------------------------------------------------------------


class Zips:
    """Evidence: mutated as bytes, with a member changed and packed again, or packed of made-up members."""

    def __init__(self, valid):
        self.valid = valid

    def mutation(self, rng):
        body = rng.choice(self.valid)
        if rng.random() < 0.4:
            return mutated(rng, body, self.valid)
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(sorted(members))
        try:
            members[name] = as_json(rng, changed(rng, json.loads(members[name])))
        except ValueError:
            members[name] = mutated(rng, members[name], list(members.values()))
        if rng.random() < 0.1:
            del members[rng.choice(sorted(members))]
        return packed(rng, members)

    def generation(self, rng):
        if rng.random() < 0.2:
            return noise(rng)
        with zipfile.ZipFile(io.BytesIO(self.valid[0])) as archive:
            names = archive.namelist()
        members = {
            rng.choice((*names, "../x", "x" * 300, "-")): rng.choice((noise(rng), as_json(rng, odd(rng))))
            for _ in range(5)
        }
        return packed(rng, members)


def packed(rng, members):
    body = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(body, "w") as archive:
        for name, member in members.items():
            with suppress(ValueError):
                archive.writestr(zipfile.ZipInfo(name), member, how)  # without the time of day
    return body.getvalue()


class Stores:
    """Backups: mutated as bytes, or with a row altered by SQL; or SQLite files with made-up tables, or none."""

    def __init__(self, valid, folder):
        self.valid, self._file = valid, folder / "altered.db"

    def mutation(self, rng):
        if rng.random() < 0.5:
            return mutated(rng, self.valid, [self.valid])
        return self._altered(rng, self.valid)

    def generation(self, rng):
        if rng.random() < 0.3:
            return self.valid[: rng.choice((16, 100, 4096))] + noise(rng)
        return self._altered(rng, b"" if rng.random() < 0.5 else self.valid, rng.choice((2, 5, 20)))

    def _altered(self, rng, body, times=1):
        self._file.write_bytes(body)
        with closing(sqlite3.connect(self._file)) as db:
            db.execute("PRAGMA journal_mode=DELETE")
            if not body:
                db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                db.execute(f"PRAGMA user_version={rng.randrange(12)}")
                for name in ("meta", "head", "entries", "keys", "packs", "aliases"):
                    db.execute(f"CREATE TABLE {name} (name, value, position, state, size, root)")
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")  # entries are never changed
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            for _ in range(times):
                table = rng.choice(sorted(tables))
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                value = rng.choice((None, 0, -1, 2**62, 1.5, "x", b"", b"\xff" * 40, rng.randbytes(32), b"{}", b"[]"))
                with suppress(sqlite3.Error):
                    number = rng.randrange(max(1, db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))
                    rowid = db.execute(f"SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {number}").fetchone()
                    if rowid and rng.random() < 0.2:
                        db.execute(f"DELETE FROM {table} WHERE rowid=?", rowid)
                    elif rowid:
                        db.execute(f"UPDATE {table} SET {rng.choice(columns)}=? WHERE rowid=?", [value, *rowid])
            db.commit()
        altered = self._file.read_bytes()
        self._file.unlink()
        return altered


class Journals:
    """What stands beside the keys, one file at a time: `NAME`, a line's end, its bytes."""

    def __init__(self, valid):
        self.valid = valid

    def mutation(self, rng):
        name = rng.choice(sorted(self.valid))
        body = self.valid[name]
        if rng.random() < 0.5:
            return name.encode() + b"\n" + mutated(rng, body, list(self.valid.values()))
        rows = []
        for row in body.split(b"\n"):
            try:
                rows.append(as_json(rng, changed(rng, json.loads(row))) if rng.random() < 0.5 else row)
            except ValueError:
                rows.append(row)
        return name.encode() + b"\n" + b"\n".join(rows)

    def generation(self, rng):
        name = rng.choice(sorted(self.valid))
        kinds = ("erase", "deletion", "traces", "later")
        rows = [
            {"kind": rng.choice(kinds), "persons": [odd(rng)], "until": odd(rng), "suppressed": [[odd(rng), odd(rng),
            odd(rng)]],
             "traces": [odd(rng)], "log": "fuzz.example/ledger", "size": odd(rng), "root": "00" * 32,
             "signing": odd(rng)}
            for _ in range(rng.randrange(6))
        ]  # fmt: skip
        made = b"\n".join(as_json(rng, one) for one in (*rows, [odd(rng), odd(rng), odd(rng)]))
        return name.encode() + b"\n" + (noise(rng) if rng.random() < 0.2 else made)
