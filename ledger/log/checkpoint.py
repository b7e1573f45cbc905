"""The signing side of signed notes, checkpoints and cosignatures (C2SP); `ledger.log.verifier` reads them."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent_ledger.ledger.log.verifier import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    NoteError,
    cosigned_message,
    encode_base64,
    format_vkey,
    key_id,
    parse_checkpoint,
    require_name,
)

SEED_BYTES: Final = 32


class Signer:
    """An Ed25519 key with a name. A log's name is the origin of its checkpoints.

    Raises NoteError for a name that is empty or holds a space, a plus or a newline, and for a seed not 32 bytes long.
    """

    __slots__ = ("_key", "name", "public")

    def __init__(self, seed: bytes, name: str) -> None:
        require_name(name)
        if len(seed) != SEED_BYTES:
            raise NoteError(f"a signing key is made from {SEED_BYTES} random bytes, found {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = name
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Signer({self.vkey!r})"  # the public half only

    @property
    def vkey(self) -> str:
        """What to give to those who check its notes: `example.com/ledger+1f2e3d4c+ASgw…`."""
        return format_vkey(self.name, self.public)

    @property
    def witness_vkey(self) -> str:
        """What to give to those who check its cosignatures: the same key as type 04, under another key ID."""
        return format_vkey(self.name, self.public, COSIGNATURE)

    def sign(self, text: str) -> str:
        """Signed note of `text` (C2SP signed-note): the text, an empty line, one signature line.

        Raises NoteError for a text that no note can have: not ended by a newline, with another control character, or
        not UTF-8. Whether a checkpoint may be signed (the head has been persisted, once) is for the caller to know.
        """
        return f"{text}\n{self._line(ED25519, _require_text(text))}"

    def _line(self, alg: int, message: bytes, prefix: bytes = b"") -> str:
        blob = key_id(self.name, alg, self.public) + prefix + self._key.sign(message)
        return f"\u2014 {self.name} {encode_base64(blob)}\n"


def _require_text(text: str) -> bytes:
    if not text.endswith("\n") or any(char < " " and char != "\n" for char in text):
        raise NoteError("a note's text ends in a newline and holds no other control character")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NoteError("a note's text is UTF-8: it holds half of a surrogate pair") from None


def cosign(text: str, timestamp: int, signer: Signer) -> str:
    """Signature line of `signer` as a witness of a checkpoint's text (C2SP tlog-cosignature), to append to the note.

        — witness.example/w1 <base64(key ID || u64 timestamp || signature)>

    Raises NoteError for a text that is no checkpoint's and for a timestamp (POSIX seconds) that is not one.
    Requires 0 <= timestamp < 2**63.
    """
    parse_checkpoint(text)
    if not 0 <= timestamp < 2**63:
        raise NoteError(f"wants 0 <= timestamp < 2**63 in seconds, found {timestamp}")
    line = signer._line  # noqa: SLF001  the key stays private to this module
    return line(COSIGNATURE, cosigned_message(text, timestamp), prefix=timestamp.to_bytes(8, "big"))


def format_checkpoint(origin: str, size: int, root: bytes) -> str:
    """Text of a checkpoint, to be signed by the key whose name is `origin` (C2SP tlog-checkpoint).

        example.com/ledger
        812
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    Raises NoteError for an origin that cannot name a key. Requires 0 <= size < 2**63 (leaves) and a root of 32 bytes,
    that of the empty tree for size 0.
    """
    text = f"{origin}\n{size}\n{encode_base64(root)}\n"
    if parse_checkpoint(text) != Checkpoint(origin, size, root):  # what is signed reads back as what was meant
        raise NoteError(f"a checkpoint of {origin!r} at size {size} does not read back")
    return text
