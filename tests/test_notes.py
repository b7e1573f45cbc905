"""Signed notes, checkpoints, cosignatures and proof files: literal vectors, round trips, damage by name."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_ledger.ledger.log.checkpoint import Signer, cosign, format_checkpoint
from consent_ledger.ledger.log.verifier import (
    COSIGNATURE,
    EMPTY_ROOT,
    Checkpoint,
    NoteError,
    ProofError,
    commitment,
    cosigned_message,
    decode_base64,
    format_tlog_proof,
    format_vkey,
    key_id,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_tlog_proof,
    parse_vkey,
)

# Computed by hand with openssl, sha256sum and base64 from the first test key of RFC 8032 section 7.1; none of our code.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ORIGIN = "example.com/ledger"
VKEY = "example.com/ledger+60db519f+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
WITNESS_VKEY = "witness.example/w1+eb762cc2+BNdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
TEXT = "example.com/ledger\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
SIGNATURE = (
    "\u2014 example.com/ledger "
    "YNtRn8/RAVRlGFGOw2KR0VpIfMjk0bn+PKItVMvhiwfjEXczOPNHzIVPuWomzqAa3AN6Q9JF6cCZorfltyqmDAgsGQk=\n"
)
COSIGNED_AT = 1_767_225_600  # 2026-01-01T00:00:00Z
COSIGNED = (
    "\u2014 witness.example/w1 "
    "63YswgAAAABpVbkA10G922Ti+IA/+pTMtQXKqi38FqSd3q2WVr3wT+hPTBmCAz+j7PH5PtQ032KSWTLKz32sUCQtzlYlMkulHuYyAg==\n"
)
NOTE = TEXT + "\n" + SIGNATURE

LOG = parse_vkey(VKEY)
WITNESS = parse_vkey(WITNESS_VKEY)
STRANGER = Signer(b"\x07" * 32, "stranger.example")


def test_the_vector_is_what_we_sign_and_what_we_read():
    signer = Signer(SEED, ORIGIN)
    assert (signer.public, signer.vkey) == (PUBLIC, VKEY)
    assert format_checkpoint(ORIGIN, 0, EMPTY_ROOT) == TEXT
    assert signer.sign(TEXT) == NOTE
    assert open_note(NOTE, [LOG]) == (TEXT, [LOG])
    assert open_note(NOTE.encode(), [LOG]) == (TEXT, [LOG])
    assert open_checkpoint(NOTE, LOG) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


def test_the_cosignature_vector_is_what_we_sign_and_what_we_read():
    witness = Signer(SEED, "witness.example/w1")
    assert witness.witness_vkey == WITNESS_VKEY
    assert cosign(TEXT, COSIGNED_AT, witness) == COSIGNED
    assert open_checkpoint(NOTE + COSIGNED, [LOG], [WITNESS]) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_note(NOTE + COSIGNED, [WITNESS, LOG]) == (TEXT, [LOG, WITNESS])


def test_key_ids_and_vkeys():
    assert key_id(ORIGIN, 1, PUBLIC).hex() == "60db519f"
    assert format_vkey(ORIGIN, PUBLIC) == VKEY
    assert (LOG.name, LOG.key_id.hex(), LOG.alg, LOG.public) == (ORIGIN, "60db519f", 1, PUBLIC)
    assert WITNESS.alg == COSIGNATURE


def test_a_commitment_by_hand():
    # printf 'consent-ledger/field/v1\0\0\0\4salt\0\0\0\5email\0\0\0\4\303\251@x' | sha256sum
    digest = "9d72816de9d392ca965cf5a8e53c0abee19ac693dc7b986357b6bb396bf76134"
    assert commitment(b"salt", "email", "\u00e9@x").hex() == digest


def test_a_signer_does_not_show_its_seed():
    assert repr(Signer(SEED, ORIGIN)) == f"Signer({VKEY!r})"


def vkey_of(alg, public):
    return f"n+{key_id('n', alg, public).hex()}+{base64.b64encode(bytes([alg]) + public).decode()}"


@pytest.mark.parametrize(
    "text",
    {
        "empty": "",
        "no-parts": "example.com/ledger",
        "empty-name": VKEY.removeprefix(ORIGIN),
        "other-name": VKEY.replace("ledger", "ledgers"),
        "name-with-space": VKEY.replace("/", " "),
        "bad-key-id": VKEY.replace("60db519f", "60db519e"),
        "upper-case-key-id": VKEY.replace("60db519f", "60DB519F"),
        "flipped-bit": VKEY[:-1] + "b",
        "trailing-newline": VKEY + "\n",
        "leading-space": " " + VKEY,
        "short-key": vkey_of(1, PUBLIC[:31]),
        "long-key": vkey_of(1, PUBLIC + b"x"),
        "ecdsa": vkey_of(2, PUBLIC),
        "ml-dsa-44": vkey_of(6, PUBLIC),
        "padded": VKEY + "====",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_vkey(text):
    with pytest.raises(NoteError):
        parse_vkey(text[1])


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\tb", "a\u00a0b", "a\u2028b", "a\u3000", "\0", "\x7f", "\ud800"]
)
def test_names_that_no_key_has(name):
    with pytest.raises(NoteError, match="name"):
        Signer(SEED, name)
    with pytest.raises(NoteError, match="name"):
        format_vkey(name, PUBLIC)
    with pytest.raises(NoteError, match="origin"):
        format_checkpoint(name, 0, EMPTY_ROOT)


@pytest.mark.parametrize("seed", [b"", b"x" * 31, b"x" * 33, b"x" * 64])
def test_seeds_that_no_key_has(seed):
    with pytest.raises(NoteError, match="32 random bytes"):
        Signer(seed, ORIGIN)


def flip(note, at):
    """`note` with the lowest bit of one character's byte flipped."""
    raw = bytearray(note.encode())
    raw[at] ^= 1
    return bytes(raw)


BLOB = decode_base64(SIGNATURE.split(" ")[2].strip())


def resigned(blob):
    return TEXT + f"\n\u2014 {ORIGIN} {base64.b64encode(blob).decode()}\n"


DAMAGED = {
    "empty": "",
    "only-text": TEXT,
    "no-empty-line": TEXT + SIGNATURE,
    "no-signature-line": TEXT + "\n",
    "truncated-signature": resigned(BLOB[:-1]),
    "longer-signature": resigned(BLOB + b"x"),
    "only-key-id": resigned(BLOB[:4]),
    "truncated-line": NOTE[:-10],
    "no-last-newline": NOTE[:-1],
    "two-last-newlines": NOTE + "\n",
    "bad-key-id": resigned(b"\0\0\0\0" + BLOB[4:]),
    "wrong-name": NOTE.replace("\u2014 example.com/ledger", "\u2014 example.com/other"),
    "other-origin": NOTE.replace("example.com/ledger\n", "example.com/ledges\n"),
    "flipped-bit-in-size": flip(NOTE, len(ORIGIN) + 1),
    "flipped-bit-in-root": flip(NOTE, len(ORIGIN) + 5),
    "flipped-bit-in-signature": resigned(BLOB[:-1] + bytes([BLOB[-1] ^ 1])),
    "hyphen-for-em-dash": NOTE.replace("\u2014", "-"),
    "two-spaces-before-name": NOTE.replace("\u2014 ", "\u2014  "),
    "two-spaces-after-name": NOTE.replace("ledger Y", "ledger  Y"),
    "trailing-space": NOTE[:-1] + " \n",
    "leading-space": " " + NOTE,
    "tab": NOTE.replace("\u2014 example.com/ledger ", "\u2014 example.com/ledger\t"),
    "carriage-returns": NOTE.replace("\n", "\r\n"),
    "null": NOTE.replace("\n0\n", "\n\0\n"),
    "not-utf-8": NOTE.encode() + b"\xff",
    "stray-bits-in-base64": NOTE.replace("GQk=", "GQl="),
    "no-padding": NOTE.replace("GQk=", "GQk"),
    "another-line-only-key-id": NOTE + "\u2014 stranger.example AAAAAA==\n",
    "no-text": Signer(SEED, ORIGIN).sign("\n").removeprefix("\n\n"),
    "signed-tab": "tab\there\n\n" + Signer(SEED, ORIGIN)._line(1, b"tab\there\n"),
    "another-line-malformed": NOTE + "\u2014 stranger.example !!!!\n",
    "known-key-twice-once-failing": NOTE + resigned(BLOB[:-1] + b"\0").removeprefix(TEXT + "\n"),
    "more-signatures-than-64": NOTE + "\u2014 stranger.example AAAAAAA=\n" * 64,
    "longer-than-512-KiB": Signer(SEED, ORIGIN).sign("x" * (512 << 10) + "\n"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_note_is_refused(damage):
    open_note(NOTE, [LOG])
    with pytest.raises(NoteError):
        open_note(DAMAGED[damage], [LOG])


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(0, 7))
def test_a_note_with_any_bit_flipped_is_refused(at, bit):
    raw = bytearray(NOTE.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(NoteError):
        open_note(bytes(raw), [LOG])


def test_unknown_keys_are_ignored_and_sixteen_signatures_accepted():
    strangers = "".join(
        Signer(bytes([n]) * 32, f"stranger-{n}.example").sign(TEXT).removeprefix(TEXT + "\n") for n in range(15)
    )
    same_name = Signer(b"\x09" * 32, ORIGIN).sign(TEXT).removeprefix(TEXT + "\n")
    assert open_note(TEXT + "\n" + strangers + SIGNATURE, [LOG]) == (TEXT, [LOG])
    assert open_note(NOTE + same_name, [LOG]) == (TEXT, [LOG])
    assert open_note(NOTE + SIGNATURE, [LOG]) == (TEXT, [LOG])
    with pytest.raises(NoteError, match=r"none of the given keys signed it, but 'example.com/ledger' \(60db519f\)"):
        open_note(NOTE, [parse_vkey(STRANGER.vkey)])
    with pytest.raises(NoteError, match="none of the given keys"):
        open_note(NOTE, [])


@pytest.mark.parametrize(
    "text", ["one\n", "\n", "a\n\nb\n", "a\n\n\n", "\n\n\u2014 not a signature\n", "\u0085\u2028 é\n"]
)
def test_texts_come_back_as_they_were_signed(text):
    signer = Signer(SEED, ORIGIN)
    assert open_note(signer.sign(text), [LOG]) == (text, [LOG])


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "\r\n", "half \ud800\n", "nul\0\n"])
def test_texts_that_no_note_has(text):
    with pytest.raises(NoteError, match="text"):
        Signer(SEED, ORIGIN).sign(text)


ROOT = base64.b64encode(b"r" * 32).decode()


@pytest.mark.parametrize(
    "text",
    {
        "empty": "",
        "two-lines": f"o\n{ROOT}\n",
        "extension-line": f"o\n1\n{ROOT}\nmore\n",
        "empty-line-behind": f"o\n1\n{ROOT}\n\n",
        "no-last-newline": f"o\n1\n{ROOT}",
        "empty-origin": f"\n1\n{ROOT}\n",
        "origin-with-space": f"o o\n1\n{ROOT}\n",
        "leading-zero": f"o\n01\n{ROOT}\n",
        "plus-sign": f"o\n+1\n{ROOT}\n",
        "negative": f"o\n-1\n{ROOT}\n",
        "no-size": f"o\n\n{ROOT}\n",
        "space-in-size": f"o\n1 \n{ROOT}\n",
        "underscore-in-size": f"o\n1_0\n{ROOT}\n",
        "other-digits": f"o\n\u0661\n{ROOT}\n",
        "size-of-2-63": f"o\n{2**63}\n{ROOT}\n",
        "very-long-size": f"o\n{'9' * 5000}\n{ROOT}\n",
        "short-root": f"o\n1\n{base64.b64encode(b'r' * 31).decode()}\n",
        "long-root": f"o\n1\n{base64.b64encode(b'r' * 33).decode()}\n",
        "root-without-padding": f"o\n1\n{ROOT[:-1]}\n",
        "root-with-stray-bits": f"o\n1\n{ROOT[:-2]}J=\n",
        "url-safe-root": f"o\n1\n{'_' * 42}8=\n",
        "some-root-at-size-0": f"o\n0\n{ROOT}\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_checkpoint(text):
    assert parse_checkpoint(f"o\n1\n{ROOT}\n") == Checkpoint("o", 1, b"r" * 32)
    with pytest.raises(NoteError):
        parse_checkpoint(text[1])


@pytest.mark.parametrize(("size", "root"), [(-1, b"r" * 32), (2**63, b"r" * 32), (1, b"r" * 31), (0, b"r" * 32)])
def test_checkpoints_that_are_never_written(size, root):
    with pytest.raises(NoteError):
        format_checkpoint(ORIGIN, size, root)


def test_a_checkpoint_wants_the_key_of_its_origin():
    with pytest.raises(NoteError, match="no given key of that name"):
        open_checkpoint(STRANGER.sign(TEXT), parse_vkey(STRANGER.vkey))
    # a witness key of the log's own name is not the log's signature
    as_witness = Signer(SEED, ORIGIN)
    note = TEXT + "\n" + cosign(TEXT, COSIGNED_AT, as_witness)
    with pytest.raises(NoteError, match="no given key of that name"):
        open_checkpoint(note, parse_vkey(as_witness.witness_vkey))
    with pytest.raises(NoteError, match="no given key of that name"):
        open_checkpoint(note, [LOG], [parse_vkey(as_witness.witness_vkey)])


COSIGNED_BLOB = decode_base64(COSIGNED.split(" ")[2].strip())


@pytest.mark.parametrize(
    "blob",
    {
        "other-time": COSIGNED_BLOB[:11] + b"\1" + COSIGNED_BLOB[12:],
        "time-above-2-63": COSIGNED_BLOB[:4] + b"\xff" + COSIGNED_BLOB[5:],
        "no-time": COSIGNED_BLOB[:4] + COSIGNED_BLOB[12:],
        "only-time": COSIGNED_BLOB[:12],
        "plain-signature": COSIGNED_BLOB[:12] + BLOB[4:],
        "flipped-bit": COSIGNED_BLOB[:-1] + bytes([COSIGNED_BLOB[-1] ^ 1]),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_damaged_cosignature_is_refused(blob):
    line = f"\u2014 witness.example/w1 {base64.b64encode(blob[1]).decode()}\n"
    assert open_checkpoint(NOTE + line, LOG)  # an unknown witness is nobody's concern
    with pytest.raises(NoteError, match=r"witness.example/w1"):
        open_checkpoint(NOTE + line, LOG, [WITNESS])


def test_a_cosignature_of_a_time_above_2_63_is_refused_though_it_is_signed():
    message, prefix = cosigned_message(TEXT, 2**63), (2**63).to_bytes(8, "big")
    line = Signer(SEED, WITNESS.name)._line(COSIGNATURE, message, prefix)
    with pytest.raises(NoteError, match="time above"):
        open_checkpoint(NOTE + line, LOG, [WITNESS])


def test_every_witness_that_is_asked_for_must_have_cosigned():
    with pytest.raises(NoteError, match=r"'witness.example/w1' \(eb762cc2\) did not cosign it"):
        open_checkpoint(NOTE, LOG, [WITNESS])
    with pytest.raises(NoteError, match="did not cosign it"):
        open_checkpoint(NOTE + COSIGNED, LOG, [WITNESS, parse_vkey(STRANGER.witness_vkey)])
    with pytest.raises(NoteError, match="did not cosign it"):  # the log's own signature is no cosignature
        open_checkpoint(NOTE, LOG, [LOG])


@pytest.mark.parametrize(("text", "timestamp"), [("hello\n", 1), (TEXT + "more\n", 1), (TEXT, -1), (TEXT, 2**63)])
def test_what_no_witness_signs(text, timestamp):
    with pytest.raises(NoteError):
        cosign(text, timestamp, STRANGER)


@given(st.integers(0, 2**62), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_proof_files_come_back(index, hashes):
    assert parse_tlog_proof(format_tlog_proof(index, hashes, NOTE)) == (index, hashes, NOTE)


def test_a_proof_file_literally():
    text = f"c2sp.org/tlog-proof@v1\nindex 5\n{ROOT}\n\n{NOTE}"
    assert format_tlog_proof(5, [b"r" * 32], NOTE) == text
    assert parse_tlog_proof(text) == (5, [b"r" * 32], NOTE)
    assert parse_tlog_proof(text.replace("index", "extra aGVsbG8=\nindex")) == (5, [b"r" * 32], NOTE)


@pytest.mark.parametrize(
    "text",
    {
        "empty": "",
        "other-version": f"c2sp.org/tlog-proof@v2\nindex 5\n\n{NOTE}",
        "no-index": f"c2sp.org/tlog-proof@v1\n{ROOT}\n\n{NOTE}",
        "leading-zero": f"c2sp.org/tlog-proof@v1\nindex 05\n\n{NOTE}",
        "extra-behind-index": f"c2sp.org/tlog-proof@v1\nindex 5\nextra aGk=\n\n{NOTE}",
        "no-empty-line": f"c2sp.org/tlog-proof@v1\nindex 5\n{ROOT}\n{NOTE.replace(chr(10) * 2, chr(10))}",
        "short-hash": f"c2sp.org/tlog-proof@v1\nindex 5\n{base64.b64encode(b'r' * 31).decode()}\n\n{NOTE}",
        "stray-bits": f"c2sp.org/tlog-proof@v1\nindex 5\n{ROOT[:-2]}J=\n\n{NOTE}",
        "64-hashes": f"c2sp.org/tlog-proof@v1\nindex 5\n{(ROOT + chr(10)) * 64}\n{NOTE}",
        "carriage-returns": f"c2sp.org/tlog-proof@v1\r\nindex 5\r\n\r\n{NOTE}",
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_proof_file(text):
    with pytest.raises(ProofError):
        parse_tlog_proof(text[1])
