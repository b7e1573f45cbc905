"""The vault: personal fields under a data key per person, names as an erasable alias table. Outside the log.

Per event one sealed record: AES-GCM under the person's data key of the event's 32 random bytes followed by the personal
fields as JSON, with person and version as associated data. The salt of each field's commitment is drawn from those
random bytes by HMAC, so that one field can be shown without the others. Data keys are wrapped by the key-encryption
key. Names are looked up by a keyed hash and kept readable only under the data key. A person is a random time-ordered
identifier: no key leads from a name to it once the alias row is gone.
"""

from __future__ import annotations

import hmac
import os
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent_ledger.ledger.errors import CorruptEntry
from consent_ledger.ledger.identifiers.marks import normal
from consent_ledger.ledger.identifiers.spellings import name_form
from consent_ledger.ledger.log.verifier import commitment
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import people
from consent_ledger.ledger.vault.keys import KEY_BYTES, NONCE_BYTES, KeyProvider

SECRET_BYTES: Final = 32
ALIAS_BYTES: Final = 16
DIGEST_BYTES: Final = 16
TAG_BYTES: Final = 16
SOURCE_BYTES: Final = 8
CACHED_KEYS: Final = 100_000


@dataclass(slots=True)
class VaultWrites:
    """Rows to insert, gathered over a batch."""

    people: list[tuple[str, bytes]] = field(default_factory=list)
    aliases: list[tuple[bytes, str, bytes, bytes, bytes]] = field(default_factory=list)
    secrets: list[tuple[int, bytes]] = field(default_factory=list)

    def mark(self) -> tuple[int, int, int]:
        """How much is gathered so far."""
        return len(self.people), len(self.aliases), len(self.secrets)

    def reset(self, mark: tuple[int, int, int]) -> None:
        """Forget what was gathered since a mark."""
        del self.people[mark[0] :], self.aliases[mark[1] :], self.secrets[mark[2] :]

    def flush(self, c: Transaction) -> None:
        """Insert what was gathered and forget it."""
        if self.people:
            people.add_keys(c, self.people)
        if self.aliases:
            people.add_names(c, self.aliases)
        if self.secrets:
            people.add_secrets(c, self.secrets)
        self.people, self.aliases, self.secrets = [], [], []


class Vault:
    """Seals, opens and destroys. Holds the store's own keys, unwrapped, and a bounded cache of data keys."""

    def __init__(
        self, keys: KeyProvider, index_key: bytes, digest_key: bytes, randomness: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.keys = keys
        self._index_key = index_key
        self._digest_key = digest_key
        self._random = randomness
        self._data_keys: dict[str, AESGCM] = {}
        self._wrapped: dict[str, bytes] = {}  # of a batch under way, read at once; its writer's
        self._sources: dict[str, bytes] = {}

    # -- names ---------------------------------------------------------------------------------------------------------

    def alias(self, controller: str, name: str) -> bytes:
        """The keyed hash under which a name is found, however it is spelt."""
        return self.exact_alias(controller, name_form(name))

    def exact_alias(self, controller: str, name: str) -> bytes:
        """The keyed hash of a name as it is written: stores before format 4 have no other."""
        return blake2b(f"{controller}\0{name}".encode(), key=self._index_key, digest_size=ALIAS_BYTES).digest()

    def aliases(self, controller: str, name: str) -> list[bytes]:
        """All hashes under which a name is found, the one that leads first: that of the name as it is written."""
        return list(dict.fromkeys((self.exact_alias(controller, name), self.alias(controller, name))))

    def find_name(self, c: Transaction, controller: str, name: str) -> str | None:
        """The person that a name leads to."""
        aliases = self.aliases(controller, name)
        found = self.find(c, aliases)
        return next((found[alias] for alias in aliases if alias in found), None)

    def bound_name(self, alias: bytes, person: str) -> bytes:
        """The keyed tag that binds a name to its person."""
        return blake2b(b"bound\0" + alias + person.encode(), key=self._index_key, digest_size=ALIAS_BYTES).digest()

    def bound_pack(self, controller: str, sha256: str) -> bytes:
        """The keyed tag that binds a controller to the pack that was registered for it last."""
        return self.bound(b"pack", controller.encode(), sha256.encode())

    def person_of(self, alias: bytes, person: str, bound: bytes | None) -> str:
        """The person of a row of aliases. Raises CorruptEntry where the row was altered."""
        if not isinstance(bound, bytes) or not hmac.compare_digest(bound, self.bound_name(alias, person)):
            raise CorruptEntry(f"a name was made to lead to person {person}: restore the store from a backup")
        return person

    def word(self, text: str) -> bytes:
        """The keyed hash under which letters that say a name or value are found, whoever's it is."""
        named = b"word\0" + normal(text).encode()
        return blake2b(named, key=self._index_key, digest_size=ALIAS_BYTES).digest()

    def address_key(self, controller: str, kind: str, form: str) -> bytes:
        """The keyed hash under which the no of an erased person is found by an address: see `identifiers.spellings`."""
        return self._address_key("form", controller, kind, form)

    def older_address_key(self, controller: str, kind: str, form: str) -> bytes:
        """The same of stores before format 4, by their form of an address (`suppression.normalise`)."""
        return self._address_key("address", controller, kind, form)

    def _address_key(self, label: str, controller: str, kind: str, form: str) -> bytes:
        named = f"{label}\0{controller}\0{kind}\0{form}".encode()
        return blake2b(named, key=self._index_key, digest_size=ALIAS_BYTES).digest()

    def tag(self, address_key: bytes) -> bytes:
        """By which an address is found while it still leads to a person: other bytes than those that are kept."""
        return blake2b(b"tag\0" + address_key, key=self._index_key, digest_size=ALIAS_BYTES).digest()

    def masked(self, address_key: bytes, person: str) -> bytes:
        """An address's hash under a mask of the person's; masking twice gives it back."""
        mask = blake2b(f"mask\0{person}".encode(), key=self._index_key, digest_size=ALIAS_BYTES).digest()
        return bytes(a ^ b for a, b in zip(address_key, mask, strict=True))

    def digest(self, content: bytes) -> bytes:
        """The keyed digest by which the content of two events is compared."""
        return blake2b(content, key=self._digest_key, digest_size=DIGEST_BYTES).digest()

    def bound(self, label: bytes, *parts: bytes) -> bytes:
        """A keyed tag over parts that belong together: whoever has only the files cannot make one."""
        hashed = blake2b(key=self._digest_key, digest_size=TAG_BYTES, person=b"bound")  # apart from `digest`
        for part in (label, *parts):
            hashed.update(len(part).to_bytes(8, "big"))
            hashed.update(part)
        return hashed.digest()

    def event_key(self, source: str, event_id: str) -> bytes:
        """The idempotency key of an event: neighbours in a source's numbering stay neighbours in the index."""
        prefix = self._sources.get(source)
        if prefix is None:
            prefix = self._sources[source] = blake2b(source.encode(), digest_size=SOURCE_BYTES).digest()
            if len(self._sources) > CACHED_KEYS:
                self._sources.clear()
        return prefix + event_id.encode()

    def new_person(self, now: int) -> str:
        """A random identifier that sorts by time of creation (UUID version 7, 32 hex digits)."""
        millis = max(now // 1000, 0) & ((1 << 48) - 1)
        noise = int.from_bytes(self._random(10), "big")
        value = (millis << 80) | (0x7 << 76) | ((noise >> 62 & 0xFFF) << 64) | (0b10 << 62) | (noise & ((1 << 62) - 1))
        return f"{value:032x}"

    def find(self, c: Transaction, aliases: Iterable[bytes]) -> dict[bytes, str]:
        """The persons of those aliases that are known."""
        return {row[0]: self.person_of(*row) for row in people.of_aliases(c, aliases)}

    def add_name(self, writes: VaultWrites, alias: bytes, name: str, person: str) -> None:
        """A new name of a new person."""
        key = self._data_keys.get(person) or self._new_key(writes, person)
        sealed = self._seal(key, name.encode(), f"{person}:name".encode())
        writes.aliases.append((alias, person, sealed, self.bound_name(alias, person), self.word(name)))

    def names(self, c: Transaction, person: str) -> list[str]:
        """The names of a person that can still be read."""
        if self._existing_key(c, person) is None:
            return []
        return sorted({self.open_name(c, person, sealed) for sealed in people.sealed_names(c, person)})

    def open_name(self, c: Transaction, person: str, sealed: bytes) -> str:
        """One sealed name. Requires that the person's data key is there."""
        key = self._existing_key(c, person)
        assert key is not None
        return self._open(key, sealed, f"{person}:name".encode(), "a name").decode()

    def check_name(self, c: Transaction, person: str, sealed: bytes, word: bytes | None) -> None:
        """Raise CorruptEntry unless a sealed name opens, and is the one that letters are searched for."""
        if self._existing_key(c, person) is None:
            raise CorruptEntry(f"the key of person {person} is missing: restore the store from a backup")
        if word is not None and word != self.word(self.open_name(c, person, sealed)):
            raise CorruptEntry(f"letters are not found by a name of person {person}: restore the store from a backup")

    # -- personal fields -----------------------------------------------------------------------------------------------

    def seal(
        self,
        c: Transaction,
        writes: VaultWrites,
        person: str,
        version: int,
        position: int,
        fields: dict[str, str],
        dropped: frozenset[str],
    ) -> dict[str, str]:
        """Seal the fields of one event; returns its commitments. `dropped` ones are committed and not kept."""
        secret = self._random(SECRET_BYTES)
        commitments = {}
        for name, value in fields.items():
            salt = self._random(SECRET_BYTES) if name in dropped else field_salt(secret, name)
            commitments[name] = b2a_base64(commitment(salt, name, value), newline=False).decode()
        kept = {name: value for name, value in fields.items() if name not in dropped} if dropped else fields
        if kept:
            body = secret + orjson.dumps(kept)
            sealed = self._seal(self._data_key(c, writes, person), body, f"{person}:{version}".encode())
            writes.secrets.append((position, sealed))
        return commitments

    def open_fields(
        self, c: Transaction, person: str, version: int, position: int
    ) -> tuple[bytes, dict[str, str]] | None:
        """(the event's random bytes, its fields), or None where they are gone. Whoever reads keeps no key."""
        sealed = people.secret(c, position)
        key = self._existing_key(c, person)
        if sealed is None or key is None:
            return None
        body = self._open(key, sealed, f"{person}:{version}".encode(), f"entry {position}")
        return body[:SECRET_BYTES], orjson.loads(body[SECRET_BYTES:])

    def destroy(self, c: Transaction, person: str, positions: list[int], *, whole: bool) -> None:
        """Destroy the sealed records of those entries; `whole`: the data key and readable names with them."""
        people.drop_secrets(c, positions)
        if whole:
            people.drop_key(c, person)
            people.blank_names(c, person)
            self.forget_key(person)

    def forget_names(self, c: Transaction, person: str) -> None:
        """Destroy all names of a person."""
        people.drop_names(c, person)

    def forget_key(self, person: str) -> None:
        """Drop one data key."""
        self._wrapped.pop(person, None)
        self._data_keys.pop(person, None)

    def trim_cache(self) -> None:
        """Keep the cache bounded. Requires that everything gathered is written: a new key is nowhere else yet."""
        if len(self._data_keys) > CACHED_KEYS:
            self._data_keys.clear()

    def forget_cache(self) -> None:
        """Drop data keys: after a rollback, or when another process wrote."""
        self._wrapped = {}
        self._data_keys.clear()

    def mark(self, c: Transaction, person: str, content: bytes) -> bytes | None:
        """16 bytes that only the person's own key makes of some content; None where that is gone."""
        key = self._existing_key(c, person)
        if key is None:
            return None
        nonce = blake2b(content, digest_size=NONCE_BYTES, person=b"mark").digest()  # another for other content
        return key.encrypt(nonce, b"", b"mark\0" + content)[-16:]

    # -- letters without a person --------------------------------------------------------------------------------------

    def seal_letter(self, body: bytes) -> bytes:
        """Seal what was no event, under a key of its own."""
        key = self._random(KEY_BYTES)
        wrapped = self.keys.wrap(key, b"dead letter")
        return len(wrapped).to_bytes(2, "big") + wrapped + self._seal(AESGCM(key), body, b"dead letter")

    @staticmethod
    def letter_handle(sealed: bytes) -> bytes:
        """By which a letter is told from all others in any copy; drawn from its sealed bytes, it fits no guess."""
        if not isinstance(sealed, bytes):
            raise CorruptEntry("the sealed record of a dead letter was altered: restore the store from a backup")
        return blake2b(sealed, digest_size=DIGEST_BYTES).digest()

    def open_letter(self, sealed: bytes) -> bytes:
        """What a dead letter said."""
        self.letter_handle(sealed)  # that it is bytes at all
        size = int.from_bytes(sealed[:2], "big")
        key = AESGCM(self.keys.unwrap(sealed[2 : 2 + size], b"dead letter"))
        return self._open(key, sealed[2 + size :], b"dead letter", "a dead letter")

    # -- keys ----------------------------------------------------------------------------------------------------------

    def look_up_keys(self, c: Transaction, persons: Iterable[str]) -> None:
        """Read at once what a batch may need of the data keys of these persons, in place of what another one read."""
        self._wrapped = people.wrapped_keys(c, [one for one in persons if one not in self._data_keys])

    def _data_key(self, c: Transaction, writes: VaultWrites, person: str) -> AESGCM:
        key = self._existing_key(c, person)
        return self._remember(person, key) if key is not None else self._new_key(writes, person)

    def _new_key(self, writes: VaultWrites, person: str) -> AESGCM:
        raw = self._random(KEY_BYTES)
        writes.people.append((person, self.keys.wrap(raw, person.encode())))
        return self._remember(person, AESGCM(raw))

    def _existing_key(self, c: Transaction, person: str) -> AESGCM | None:
        key = self._data_keys.get(person)
        if key is None:
            wrapped = self._wrapped.get(person) or people.wrapped_key(c, person)
            if wrapped is None:
                return None
            key = AESGCM(self.keys.unwrap(wrapped, person.encode()))
        return key

    def _remember(self, person: str, key: AESGCM) -> AESGCM:
        self._data_keys[person] = key
        return key

    def _seal(self, key: AESGCM, body: bytes, context: bytes) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + key.encrypt(nonce, body, context)

    def _open(self, key: AESGCM, sealed: bytes, context: bytes, what: str) -> bytes:
        try:
            return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError, TypeError):  # TypeError: the column holds no bytes
            raise CorruptEntry(f"the sealed record of {what} was altered: restore the store from a backup") from None


def field_salt(secret: bytes, name: str) -> bytes:
    """The salt of one field, drawn from the random bytes of its event."""
    return hmac.digest(secret, name.encode(), "sha256")
