"""One batch inside one transaction: deduplicate, refuse, seal, append, sign. The linear heart of intake.

What is true if the process dies: before the commit nothing of the batch happened, after it all of it did. Vault rows
are written before the entries they belong to, the checkpoint last.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import HeadMoved, InvalidEvent, PackError
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.events.catalogue import SCHEMA_VERSION
from consent_ledger.ledger.events.closing import closes
from consent_ledger.ledger.identifiers.spellings import composed
from consent_ledger.ledger.intake.addresses import (
    Head,
    Writes,
    is_beside,
    keys_named,
    keys_of,
    may_bind,
    named_in,
    new_keys,
    require_few,
)
from consent_ledger.ledger.intake.admission import Refusal, refuse
from consent_ledger.ledger.intake.destroy import after_deletion, spare_held
from consent_ledger.ledger.intake.ends import DECIDES
from consent_ledger.ledger.intake.named import Named
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.parse import SKEW, Prepared
from consent_ledger.ledger.intake.persons import connected, is_minor, stream_entries
from consent_ledger.ledger.intake.scrub import scrub_or_wait
from consent_ledger.ledger.intake.suppression import any_kept, any_of, note_addresses, to_carry
from consent_ledger.ledger.intake.vocabulary import check_words
from consent_ledger.ledger.limits import too_large
from consent_ledger.ledger.log.checkpoint import format_checkpoint
from consent_ledger.ledger.log.entry import FORMAT, LIMIT_BYTES, Draft, Entry, controller_stream, decode, encode
from consent_ledger.ledger.log.verifier import encode_base64
from consent_ledger.ledger.outcome import Outcome, OutcomeKind
from consent_ledger.ledger.policy.conditions import Minor, Need
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, packs, people, refusals
from consent_ledger.ledger.store.tables.head import marked, move_head, sign_head
from consent_ledger.ledger.times import format_time
from consent_ledger.ledger.vault.vault import VaultWrites

if TYPE_CHECKING:
    from consent_ledger.ledger.intake.staying import Carried

CACHED: Final = 200_000
CONFLICT: Final = "conflict"
OWN_SOURCE: Final = "urn:consent-ledger"  # of what the ledger writes itself


def _named(event: Prepared) -> Named:
    assert event.named is not None
    return event.named


class _Look:
    """What the door sees of the person an event is about."""

    def __init__(self, batch: Batch, event: Prepared) -> None:
        self.batch = batch
        self.event = event

    def _person(self) -> str | None:
        """The person, if there is anything to look at: nobody's age is known before it was told."""
        person = self.batch.app.persons.get(self.event.alias)
        if person is None or person not in self.batch.watched:
            return None
        self.batch.flush()
        return person

    def is_minor(self, need: Minor) -> bool:
        person = self._person()
        if person is None:
            return False
        return is_minor(self.batch.c, person, need, self.event.time, self.batch.pack_of(self.event))

    def holds(self, need: Need) -> bool:
        person, judge = self._person(), self.batch.app.judge
        if person is None or judge is None:
            return False  # closed, where nobody can say
        return judge(need, self.batch.c, person, self.event, self.batch.pack_of(self.event))


class Batch:
    """Everything one transaction gathers before it writes."""

    def __init__(self, app: Opened, c: Transaction) -> None:
        self.app = app
        self.c = c
        self.before = app.refresh(c)
        app.vault.trim_cache()
        self.next = self.before.size
        self.recorded_at = self.before.recorded_at
        self.recorded_text = format_time(self.recorded_at) if self.next else ""
        self.first = self.next  # position of the first pending draft
        self.drafts: list[Draft] = []
        self.leaves: list[bytes] = []
        self.keys: list[tuple[bytes, int, bytes]] = []
        self.known: dict[bytes, tuple[int, bytes | None]] = {}
        self.refused: dict[bytes, dict[bytes, int]] = {}
        self.writes = VaultWrites()
        self.watched: set[str] = set()  # persons of this batch whose age is known, or who are joined with others
        # any_kept: noes that outlive deleted and erased persons
        self.any_refused, self.any_kept, self.any_deleted = marked(c)
        app.any_kept = self.any_kept
        self.subtrees: list[tuple[int, int, bytes]] = []
        self.grown: set[str] = set()  # streams whose newest entry is not yet written to `streams`
        self.mentions: list[tuple[str, int]] = []  # other persons that entries name
        self.addresses = Writes()
        self.looked_up: set[bytes] = set()  # aliases that the store was asked about
        self.published: dict[str, tuple[tuple[int, bytes], list[Entry]]] = {}  # controller's stream -> tip, versions
        self.destroyed: list[bytes] = []  # sealed bytes that must be in no file any more

    # -- events --------------------------------------------------------------------------------------------------------

    def add(self, prepared: list[Prepared | InvalidEvent], now: int) -> list[Outcome]:
        """One outcome for each event."""
        self._look_up(prepared)
        outcomes = []
        for event in prepared:
            if isinstance(event, InvalidEvent):
                outcomes.append(self._invalid(event))
                continue
            self.clock(event.recorded_at if event.recorded_at is not None else now)
            if event.recorded_at is None and event.time > self.recorded_at + SKEW and not closes(event.model):
                ahead = "is more than five minutes ahead of this clock: mend the clock that wrote it"
                outcomes.append(self._invalid(InvalidEvent("time", ahead)))
                continue
            try:
                outcomes.append(self._one(event))
            except InvalidEvent as error:
                outcomes.append(self._invalid(error))
        return outcomes

    def _invalid(self, error: InvalidEvent) -> Outcome:
        return Outcome("invalid", field=error.field, reason=error.message)

    def clock(self, now: int) -> None:
        if now > self.recorded_at or not self.recorded_text:
            self.recorded_at = max(now, self.recorded_at)
            self.recorded_text = format_time(self.recorded_at)

    def _look_up(self, prepared: list[Prepared | InvalidEvent]) -> None:
        """What the store knows of the keys and names of these events, in few queries."""
        vault = self.app.vault
        good = [event for event in prepared if isinstance(event, Prepared)]
        for event in good:
            event.key = vault.event_key(event.source, event.id)
            event.digest = vault.digest(event.content())
            if event.subject is not None:
                older, event.alias = (
                    vault.exact_alias(event.controller, event.subject),
                    vault.alias(event.controller, event.subject),
                )
                event.older_alias = older if older != event.alias else b""
        keys = [event.key for event in good]
        for key, position, digest in entries.known_keys(self.c, keys):
            self.known.setdefault(key, (position, digest))
        for key, digest, position in refusals.of_keys(self.c, keys) if self.any_refused else ():
            self.refused.setdefault(key, {}).setdefault(digest, position)
        if len(self.app.persons) > CACHED:
            self.flush()  # names of this transaction are found in the store from here on
            self.app.persons.clear()
            self.looked_up.clear()
        self._look_up_older([event for event in good if event.older_alias])
        aliases = {event.alias for event in good if event.alias}
        self.looked_up |= aliases
        missing = [alias for alias in aliases if alias not in self.app.persons]
        self.app.persons.update(vault.find(self.c, missing))
        touched = [self.app.persons[alias] for alias in aliases if alias in self.app.persons]
        self.watched |= people.of_known_age_or_joined(self.c, touched)
        for stream, version, leaf in entries.tips_of(self.c, [one for one in touched if one not in self.app.tips]):
            self.app.tips[stream] = version, leaf
        sealing = {event.alias for event in good if event.personal}
        vault.look_up_keys(self.c, [self.app.persons[one] for one in sealing if one in self.app.persons])

    def _look_up_older(self, events: list[Prepared]) -> None:
        """A name leads first to whom it led as it is written, in a store that knew no other form of it."""
        found = self.app.vault.find(self.c, {event.older_alias for event in events})
        for event in events:
            if event.older_alias in found:
                event.alias = event.older_alias

    def _one(self, event: Prepared) -> Outcome:
        key, digest = event.key, event.digest
        pack = self.pack_of(event)
        known = self.known.get(key)
        if known is not None:
            if known[1] is None or known[1] == digest:
                return Outcome("accepted", known[0], duplicate=True)
            return self._refuse(event, key, digest, Refusal(CONFLICT, "the same source and id came with other content"))
        earlier = self.refused.get(key)
        if earlier is not None:
            reason = Refusal(CONFLICT, "the same source and id was refused with other content")
            return self._refuse(event, key, digest, reason)
        self._words(event, pack)
        named = event.named
        if named is None or named.edition != pack.edition or (self.any_kept and named.older is None):
            named = event.named = named_in(event, pack, older=self.any_kept)  # that came since
        require_few(named)
        if event.role == "controller":
            refusal = refuse(event, pack, _Look(self, event))
            if refusal is not None:
                return self._refuse(event, key, digest, refusal)
        before = self.writes.mark()
        try:
            position = self._append_event(event, pack)
        except InvalidEvent:
            self._forget_since(before)
            raise
        self.keys.append((key, position, digest))
        self.known[key] = (position, digest)
        return Outcome("accepted", position)

    def _forget_since(self, mark: tuple[int, int, int]) -> None:
        """An event that did not become an entry leaves no name and no key."""
        for alias, person, *_ in self.writes.aliases[mark[1] :]:
            self.app.persons.pop(alias, None)
            self.app.tips.pop(person, None)
            self.app.vault.forget_key(person)
        self.writes.reset(mark)

    def _refuse(self, event: Prepared, key: bytes, digest: bytes, refusal: Refusal) -> Outcome:
        """Refuse, visibly; the same refusal again adds nothing."""
        kind: OutcomeKind = "conflict" if refusal.clause == CONFLICT else "refused"
        said_before = self.refused.get(key, {})
        position = said_before.get(digest, said_before.get(b""))  # b"": the digest was erased with its person
        if position is not None:
            self.flush()
            said = decode(position, entries.state(self.c, position) or b"").data
            assert isinstance(said, ev.IntakeRefused)
            kind = "conflict" if said.clause == CONFLICT else "refused"
            clause = said.clause if kind == "refused" else None
            return Outcome(kind, position, duplicate=True, clause=clause, reason=said.reason)
        data = {
            "source": event.source,
            "event_id": event.id,
            "event_type": event.type,
            "clause": refusal.clause,
            "reason": refusal.reason,
        }
        time = event.time_text if event.recorded_at is not None else self.recorded_text
        fields = {"source": OWN_SOURCE, "id": f"refusal-{self.next}", "time": time}
        position = self._append(controller_stream(event.controller), event.controller, "intake.refused", fields, data)
        self.refused.setdefault(key, {})[digest] = position
        refusals.add(self.c, key, digest, event.alias or None, position)
        others = {name for name in (event.personal.get("other"), event.data.get("of")) if name is not None}
        aliases = [one for name in sorted(others) for one in self.app.vault.aliases(event.controller, name)]
        refusals.add_names(self.c, aliases, position)
        clause = refusal.clause if kind == "refused" else None
        return Outcome(kind, position, clause=clause, reason=refusal.reason)

    def pack_of(self, event: Prepared) -> Pack:
        if self.app.any_pack is not None and self.app.any_pack.controller == event.controller:
            return self.app.any_pack
        pack = self.app.controllers.get(event.controller)
        if pack is None:
            raise InvalidEvent("controller", "is not registered: mend it, or add its pack with pack add FILE")
        return pack

    def _words(self, event: Prepared, pack: Pack) -> None:
        """Words that the pack must know, and recipients that must be registered."""
        data = event.data
        purpose = data.get("purpose")
        if purpose is not None and purpose not in pack.known_purposes:
            raise InvalidEvent("purpose", "is no purpose of this pack")
        for number, category in enumerate(data.get("categories") or (), 1):
            if category not in pack.known_categories:
                raise InvalidEvent("categories", f"number {number} is no category of this pack")
        for name in pack.closed if event.subject is not None else ():  # the service of a recipient is a purpose
            if isinstance(word := data.get(name), str) and not pack.knows(name, word):
                raise InvalidEvent(name, f"is no {name} of this pack")
        _personal_words(event.personal, pack)
        recipient = data.get("recipient")
        model = event.model
        if isinstance(model, ev.RecipientRegistered):
            if model.class_ not in pack.known_classes:
                raise InvalidEvent("class", "is no recipient class of this pack")
            if model.service is not None and model.service not in pack.known_purposes:
                raise InvalidEvent("service", "is no purpose of this pack")
        elif recipient is not None and (event.controller, composed(recipient)) not in self.app.recipients:
            raise InvalidEvent("recipient", "is not registered: publish recipient.registered first")
        check_words(model, pack, partial(self._signed, event.controller))
        if isinstance(model, ev.PolicyPublished):
            self._published(event, model, pack)
        elif isinstance(model, ev.ConsentGranted) and model.policy_version is not None:
            self._version(event, model.policy_version)

    def _version(self, event: Prepared, name: str) -> None:
        """A yes was given to a version that was there to be seen."""
        stream = controller_stream(event.controller)
        if stream in self.grown:
            self.flush()
        tip = self._tip(stream)
        if self.published.get(stream, (None,))[0] != tip:
            self.published[stream] = tip, stream_entries(self.c, [stream], ("policy.published",))
        for one in self.published[stream][1]:
            if isinstance(one.data, ev.PolicyPublished) and one.data.version == name and one.time <= event.time:
                return
        raise InvalidEvent("policy_version", "was not published by then: name the version that was shown, or none")

    def _signed(self, controller: str, recipient: str, kind: str) -> bool:
        """Whether an agreement of that kind was ever signed with a recipient."""
        self.flush()
        entries = stream_entries(self.c, [controller_stream(controller)], (ev.RecipientAgreementSigned.type,))
        return any((entry.data.recipient, entry.data.kind) == (recipient, kind) for entry in entries)  # type: ignore[union-attr]

    def _published(self, event: Prepared, model: ev.PolicyPublished, pack: Pack) -> None:
        for number, use in enumerate(model.change.new_uses if model.change else (), 1):
            if use not in pack.known_purposes:
                raise InvalidEvent("new_uses", f"number {number} is no purpose of this pack")
        if self.app.any_pack is None:
            try:
                published = self.app.pack(model.pack_sha256, self.c)
            except PackError:
                why = "is no pack that can be used from the store: add its file with pack add FILE"
                raise InvalidEvent("pack_sha256", why) from None
            if published.controller != event.controller:
                raise InvalidEvent("pack_sha256", f"is the pack of {published.controller!r}")

    # -- entries -------------------------------------------------------------------------------------------------------

    def _append_event(self, event: Prepared, pack: Pack) -> int:
        """Append an accepted event. Returns its position."""
        fields: dict[str, Any] = {"source": event.source, "id": event.id, "time": event.time_text}
        for name in ("actor", "role", "of"):
            value = getattr(event, name)
            if value is not None and value != "controller":
                fields[name] = value
        if event.subject is None:
            stream = controller_stream(event.controller)
            position = self._append(stream, event.controller, event.type, fields, event.data)
            if isinstance(event.model, ev.RecipientRegistered):
                self._know_recipient(event.controller, event.model.recipient)
            return position
        person = self._person(event.controller, event.subject, event.alias)
        data = event.data
        if data.get("of") is not None and event.role == "controller":
            data = {**data, "of": self._person(event.controller, data["of"])}
        if event.type in ("subject.linked", "subject.unlinked"):
            data = {"other": self._person(event.controller, event.personal["other"])}
        version = self._tip(person)[0] + 1
        personal, dropped = None, frozenset[str]()
        if event.personal:
            dropped = pack.dropped_fields(event.personal)
            if self.any_deleted and event.role == "controller" and self._deleted(event, person, data):
                dropped = frozenset(event.personal)
            personal = self.app.vault.seal(self.c, self.writes, person, version, self.next, event.personal, dropped)
        position = self._append(person, event.controller, event.type, fields, data, personal)
        named = (data.get("other"), data.get("of") if event.role == "controller" else None)
        self.mentions += [(other, position) for other in named if other is not None and other != person]
        bind, beside = may_bind(event.type, event.model, event.personal), is_beside(event.model)
        head = Head(event.controller, person, position, version, event.type, bind, beside)
        if event.role == "controller":
            self.addresses.add(self.app.vault, head, _named(event), dropped)
        self._consequences(event, person, data)
        if self.any_kept and event.role == "controller" and event.type != "message.bounced":
            self._carry(event, head)
        return position

    def _deleted(self, event: Prepared, person: str, data: dict[str, Any]) -> bool:
        """Whether the fields of an event are of a time up to which those of a person it names are deleted.

        An address among them is remembered as it would be, had it been told in time.
        """
        other = data.get("other")
        if not people.deleted_after(self.c, [person] if other is None else [person, other], event.time):
            return False
        keys = keys_of(self.app.vault, event.controller, _named(event).said)
        note_addresses(self.c, self.app.vault, person, keys)
        self.any_kept = self.any_kept or bool(keys)
        return True

    def _carry(self, event: Prepared, entry: Head) -> None:
        """Append the noes that an address of the event brings, just before it, or now if it tells of times before.

        An address that the person had before brings nothing: who had it then is bound as before.
        """
        vault, named, person = self.app.vault, _named(event), entry.person
        keys = keys_named(vault, event.controller, named)
        if not keys or not any_of(self.c, vault, keys):
            return
        self.flush()
        keys = new_keys(self.c, vault, named, entry, connected(self.c, person))
        found = to_carry(self.c, vault, person, keys, self.pack_of(event)) if keys else []
        live = event.time >= self.recorded_at - SKEW  # of what is told as it happens, all that was said was before
        for said, first, last in found:
            before = event.time - 1 if event.time > (first if live else last) else self.recorded_at
            fields = {"source": OWN_SOURCE, "id": f"suppression-{self.next}", "time": format_time(before)}
            self._append(person, event.controller, "suppression.carried", fields, orjson.loads(said))

    def _consequences(self, event: Prepared, person: str, data: dict[str, Any]) -> None:
        """What an event makes the ledger itself do, in the same transaction."""
        if event.type == "subject.age.learned" or (
            event.type == "subject.registered" and event.data.get("age") is not None
        ):
            people.note_aged(self.c, [person])
            self.watched.add(person)
        elif event.type == "subject.linked":
            people.join(self.c, person, data["other"])
            self.watched |= {person, data["other"]}
            if self.any_deleted:
                self.flush()
                if event.role == "controller" and people.deleted_after(self.c, [person, data["other"]], event.time):
                    self._delete(person)  # who was joined when that was deleted
                else:
                    spare_held(self.c, person)
        elif event.type == "subject.unlinked":
            self.flush()
            for name in (person, data["other"]):  # what the other was deleted for, or held for, is no longer theirs
                self._delete(name)
        elif event.type in DECIDES and event.role == "controller":
            self.flush()
            self._delete(person)

    def _delete(self, person: str) -> None:
        self.destroyed += after_deletion(self.app, self.c, person)
        self.any_kept = self.app.any_kept = any_kept(self.c)
        self.any_deleted = people.any_deleted(self.c)

    def _append(
        self,
        stream: str,
        controller: str,
        type_name: str,
        fields: dict[str, Any],
        data: dict[str, Any],
        personal: dict[str, str] | None = None,
    ) -> int:
        version, leaf = self._tip(stream)
        entry: dict[str, Any] = {"v": FORMAT, "type": type_name, "dataschema": SCHEMA_VERSION, "controller": controller}
        entry["stream" if stream.startswith("controller:") else "person"] = stream
        entry["version"] = version + 1
        if version:
            entry["prev"] = encode_base64(leaf)
        entry["source"], entry["id"], entry["time"] = fields["source"], fields["id"], fields["time"]
        entry["recorded_at"] = self.recorded_text
        for name in ("actor", "role", "of"):
            if name in fields:
                entry[name] = fields[name]
        entry["data"] = data
        if personal:
            entry["personal"] = personal
        raw = encode(entry)
        if len(raw) > LIMIT_BYTES:
            raise InvalidEvent("data", f"the entry would have {len(raw)} bytes, the limit is {LIMIT_BYTES}: split it")
        leaf = sha256(b"\0" + raw).digest()
        self.app.tips[stream] = (version + 1, leaf)
        self.grown.add(stream)
        self.drafts.append(Draft(stream, version + 1, type_name, raw))
        self.leaves.append(leaf)
        self.next += 1
        return self.next - 1

    def _tip(self, stream: str) -> tuple[int, bytes]:
        tip = self.app.tips.get(stream)
        if tip is None:
            tip = entries.tip(self.c, stream)
            if len(self.app.tips) > CACHED:
                self.flush()
                self.app.tips.clear()
            self.app.tips[stream] = tip
        return tip

    def _person(self, controller: str, name: str, alias: bytes | None = None) -> str:
        person = None
        if alias is None:
            alias, older = self.app.vault.alias(controller, name), self.app.vault.exact_alias(controller, name)
            if older != alias:
                person = self.app.vault.find(self.c, [older]).get(older)
                alias = older if person is not None else alias
        person = person or self.app.persons.get(alias)
        if person is None and alias not in self.looked_up:
            person = self.app.vault.find(self.c, [alias]).get(alias)
        if person is None:
            person = self.app.vault.new_person(self.recorded_at)
            self.app.vault.add_name(self.writes, alias, name, person)
            self.app.tips[person] = (0, b"")
        self.app.persons[alias] = person
        return person

    def _know_recipient(self, controller: str, recipient: str) -> None:
        if (controller, recipient) not in self.app.recipients:
            self.app.recipients.add((controller, recipient))
            packs.add_recipient(self.c, controller, recipient)

    def append_erased(self, person: str, method: str, controller: str | None) -> int:
        """The ledger's own record of an erasure. Returns its position.

        `controller`: whose a name is that was only ever mentioned; None where the entry about others erased says it.
        """
        version = self._tip(person)[0]
        first = entries.first_of_stream(self.c, person)
        if first is not None:
            controller = decode(*first).controller
        elif controller is None:
            return -1
        fields = {"source": OWN_SOURCE, "id": f"erasure-{self.next}", "time": self.recorded_text}
        data = {"method": method, "entries": version}
        return self._append(person, controller, "subject.erased", fields, data)

    def append_carried(self, carried: Iterable[Carried]) -> None:
        """The ledger's own record that somebody stays under the no of a person who had the same address."""
        for one in carried:
            fields = {"source": OWN_SOURCE, "id": f"suppression-{self.next}", "time": format_time(one.time)}
            position = self._append(one.person, one.controller, "suppression.carried", fields, orjson.loads(one.said))
            self.addresses.beside.append((one.person, position))

    def append_recovered(self, controller: str, recovered: ev.LogRecovered) -> int:
        """The ledger's own record, about one controller, that this log goes on in place of another."""
        fields = {"source": OWN_SOURCE, "id": f"recovery-{self.next}", "time": self.recorded_text}
        return self._append(
            controller_stream(controller), controller, recovered.type, fields, recovered.model_dump(exclude_none=True)
        )

    # -- writing -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is pending, vault first."""
        self.writes.flush(self.c)
        if self.keys:
            self.keys.sort()  # neighbours in the tree are written together
            entries.add_keys(self.c, self.keys)
            self.keys = []
        if not self.drafts:
            return
        crashpoints.reached("vault written")
        rows = [
            (position, draft.originator_id, draft.originator_version, draft.type, leaf, draft.raw)
            for position, (draft, leaf) in enumerate(zip(self.drafts, self.leaves, strict=True), self.first)
        ]
        entries.append(self.c, rows)
        tips = self.app.tips
        entries.move_tips(self.c, [(stream, *tips[stream]) for stream in sorted(self.grown)])
        entries.note_mentions(self.c, self.mentions)
        self.addresses.flush(self.c)
        self.grown, self.mentions = set(), []
        self.subtrees += self.app.frontier.extend(self.leaves)
        self.first = self.next
        self.drafts, self.leaves = [], []
        crashpoints.reached("entries written")

    def finish(self) -> None:
        """Write the rest, and sign the new head if there is one."""
        self.flush()
        self.app.vault.look_up_keys(self.c, [])
        if self.next == self.before.size:
            return
        if self.subtrees:
            entries.add_subtrees(self.c, self.subtrees)
        frontier = self.app.frontier
        root, edge = frontier.root(), b"".join(frontier.nodes())
        assert frontier.size == self.next
        # Compare and swap before a signature exists: two writers can't fork the log.
        before = self.before.size, self.before.root
        if not move_head(self.c, before, self.next, root, self.recorded_at, edge):
            raise HeadMoved(f"{self.app.where}: the head moved from {self.before.size} (retry)")
        checkpoint = self.app.signer.sign(format_checkpoint(self.app.origin, self.next, root))
        sign_head(self.c, checkpoint)
        crashpoints.reached("checkpoint written")
        self.head = type(self.before)(self.next, root, self.recorded_at, checkpoint, edge)
        self.app.will_sign(self.head)

    def committed(self) -> None:
        """Remember the new head. Requires that the transaction was committed."""
        if self.next > self.before.size:
            self.app.head = self.head
        waiting = self.app.unscrubbed
        if self.destroyed or (waiting is not None and waiting.is_due()):
            scrub_or_wait(self.app, self.destroyed)


def _personal_words(personal: dict[str, str], pack: Pack) -> None:
    """Refuse personal fields by names that the pack does not know, which would stay, and values over its limit."""
    for name, value in personal.items():
        if not pack.knows_personal(name):
            raise InvalidEvent(
                "personal",
                "has a field whose name this pack does not know: use one of its names, or have it added to the pack "
                "under [personal_fields]",
            )
        limit = pack.limit_bytes(name)
        if len(value) * 4 > limit and (size := len(value.encode())) > limit:
            raise InvalidEvent(
                name, f"{too_large('its value', size, limit)}: shorten it, or set limit_bytes in the pack"
            )
