"""The zip of evidence is exactly its files: what two readers could take for two archives, or hides in one, is none."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from conftest import Cli
from evidence_zip import KEYS, SIGNER, Evidence, refused, zipped

from consent_ledger.ledger.log import verifier
from consent_ledger.ledger.log.verifier import EvidenceError, Member, end_of_zip, verify_evidence

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")
END = 22  # bytes of the end record
END64 = 20 + 56  # of the two of ZIP64 before it
WHOLE = Evidence().zipped()
MEMBERS = Evidence().members()


def infos(**more):
    """The files of the evidence, each with more in its headers."""
    found = []
    for name, content in MEMBERS:
        info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
        for key, value in more.items():
            setattr(info, key, value)
        found.append((info, content))
    return found


def directory(raw):
    """Where the directory begins, by the end record."""
    return struct.unpack("<I", raw[-6:-2])[0]


def patched(raw, at, form, *values):
    """Other values at a place."""
    at %= len(raw)
    return raw[:at] + struct.pack(form, *values) + raw[at + struct.calcsize(form) :]


def second_header(raw):
    return raw.index(b"PK\3\4", 10)


def shifted(raw, at, junk):
    """Bytes put in at a place, with every offset behind mended: to most readers the archive is whole."""
    start = directory(raw)
    out = bytearray(raw[:at] + junk + raw[at:])
    out[-6:-2] = struct.pack("<I", start + len(junk))
    row = start + len(junk)
    while out[row : row + 4] == b"PK\1\2":
        lengths = struct.unpack("<HHH", out[row + 28 : row + 34])
        offset = struct.unpack("<I", out[row + 42 : row + 46])[0]
        if offset >= at:
            out[row + 42 : row + 46] = struct.pack("<I", offset + len(junk))
        row += 46 + sum(lengths)
    assert zipfile.ZipFile(io.BytesIO(bytes(out))).testzip() is None
    return bytes(out)


def streamed():
    """Written to a pipe: sizes follow the content, in data descriptors."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

        def seek(self, *_):
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS:
            archive.writestr(name, content)
    return pipe.getvalue()


def commented(raw, comment=b"hello"):
    stream = io.BytesIO(raw)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = comment
    return stream.getvalue()


def with_zip64_records(raw):
    """Records of ZIP64 where the end record says that its directory ends."""
    size, offset = struct.unpack("<II", raw[-10:-2])
    files = struct.unpack("<H", raw[-12:-10])[0]
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, files, files, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(raw) - END, 1)
    return raw[:-END] + record + locator + raw[-END:-10] + struct.pack("<IIH", size + END64, offset, 0)


def with_zip64_sizes():
    """A file whose sizes stand in an extra field, as if they were huge."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS:
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    return stream.getvalue()


def deflated_with_more(tail):
    """The first file's content followed by bytes inside what its header counts."""
    out, rows, at = b"", b"", 0
    for number, (name, content) in enumerate(MEMBERS):
        deflater = zlib.compressobj(wbits=-15)
        packed = deflater.compress(content) + deflater.flush() + (tail if number == 0 else b"")
        member = Member(name.encode(), 8, (0, 33), zlib.crc32(content), len(packed), len(content), at)
        out += member.header() + packed
        rows += member.row()
        at = len(out)
    return out + rows + end_of_zip(len(MEMBERS), len(rows), at)


def declared(**sizes):
    """The first file says other sizes of itself, in header and directory alike."""
    out, rows, at = b"", b"", 0
    for number, (name, content) in enumerate(MEMBERS):
        found = {"crc": zlib.crc32(content), "packed": len(content), "size": len(content)}
        found |= sizes if number == 0 else {}
        member = Member(name.encode(), 0, (0, 33), *found.values(), at)
        out += member.header() + content
        rows += member.row()
        at = len(out)
    return out + rows + end_of_zip(len(MEMBERS), len(rows), at)


def renamed(old, new):
    assert len(old) == len(new)
    assert WHOLE.count(old) == 2
    return WHOLE.replace(old, new)


CUT = "^the zip cannot be read: cut short, added to, with a comment, or not the end that its files need$"
ROW = "^the zip cannot be read: the directory is not that of its files: "
HEADER = "^the zip cannot be read: the header of file 'manifest.json' is not what it needs"
PLAIN = "^the zip cannot be read: file 'manifest.json' is no plain file$"
UNPACK = "^the zip cannot be read: file 'manifest.json' does not unpack to what its header says$"
NAME = "^the zip cannot be read: a file's name is "
SCRIPT = b"<script>alert('this person agreed to everything')</script>"

# Name of the trick: the zip, and the words by which it must be refused.
TRICKS = {
    "empty": (lambda: b"", CUT),
    "no-zip": (lambda: b"hello" * 100, CUT),
    "cut-in-the-end": (lambda: WHOLE[:-1], CUT),
    "cut-in-the-directory": (lambda: WHOLE[: directory(WHOLE) + 60], ROW),
    "cut-in-a-file": (lambda: WHOLE[:300], "^the zip cannot be read: file '.*' is cut short$"),
    "cut-in-a-header": (lambda: WHOLE[:20], "^the zip cannot be read: cut short$"),
    "bytes-behind": (lambda: WHOLE + b"x", CUT),
    "bytes-in-front": (lambda: b"x" + WHOLE, CUT),
    "page-in-front": (lambda: shifted(WHOLE, 0, SCRIPT), CUT),
    "another-zip-in-front": (lambda: zipped([("a", b"b")]) + WHOLE, CUT),
    "another-zip-behind": (lambda: WHOLE + zipped([("a", b"b")]), CUT),
    "bytes-between-files": (lambda: shifted(WHOLE, second_header(WHOLE), SCRIPT), ROW),
    "a-file-between-that-nobody-lists": (
        lambda: shifted(WHOLE, second_header(WHOLE), zipped([("a", b"b")])[:32]),
        ROW,
    ),
    "bytes-before-the-directory": (lambda: shifted(WHOLE, directory(WHOLE), SCRIPT), ROW),
    "comment": (lambda: commented(WHOLE), CUT),
    "comment-length-without-one": (lambda: WHOLE[:-2] + b"\1\0", CUT),
    "comment-that-is-a-zip": (lambda: commented(WHOLE, zipped([("a", b"b")])), CUT),
    "comment-of-a-file": (lambda: zipped(infos(comment=SCRIPT)), ROW),
    "extra-field": (lambda: zipped(infos(extra=struct.pack("<HH", 0xCAFE, 9) + b"agreed to")), HEADER),
    "extra-field-in-the-directory-only": (lambda: directory_extra(WHOLE), ROW),
    "symbolic-link": (lambda: zipped(infos(external_attr=0o120777 << 16)), PLAIN),
    "directory-attribute": (lambda: zipped(infos(external_attr=0o40755 << 16)), PLAIN),
    "dos-attributes": (lambda: zipped(infos(external_attr=0o600 << 16 | 0x06)), ROW),
    "made-by-another-system": (lambda: zipped(infos(create_system=7)), PLAIN),
    "internal-attributes": (lambda: zipped(infos(internal_attr=1)), ROW),
    "newer-version-to-make": (lambda: zipped(infos(create_version=63)), ROW),
    "newer-version-to-read": (lambda: zipped(infos(extract_version=45)), HEADER),
    "encrypted": (lambda: patched(WHOLE, 6, "<H", 1), HEADER),
    "encrypted-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 8, "<H", 1), ROW),
    "data-descriptors": (streamed, HEADER),
    "sizes-of-zip64": (with_zip64_sizes, HEADER),
    "records-of-zip64": (lambda: with_zip64_records(WHOLE), CUT),
    "other-date-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 14, "<H", 99), ROW),
    "other-size-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 24, "<I", 1), ROW),
    "other-crc-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 16, "<I", 1), ROW),
    "other-name-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 46, "<4s", b"evil"), ROW),
    "other-offset-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 42, "<I", 1), ROW),
    "other-disk-in-the-directory": (lambda: patched(WHOLE, directory(WHOLE) + 34, "<H", 1), ROW),
    "other-crc": (lambda: declared(crc=1), UNPACK),
    "other-content": (lambda: patched(zipped(MEMBERS, zipfile.ZIP_STORED), 60, "<B", 0), UNPACK),
    "stored-longer-than-it-says": (lambda: declared(size=7), UNPACK),
    "size-of-four-gigabytes": (lambda: declared(size=2**32 - 1), "unpacks to 4294967295 bytes, the limit is "),
    "packed-four-gigabytes": (lambda: declared(packed=2**32 - 1), "file 'manifest.json' is cut short$"),
    "packed-beyond-the-end": (
        lambda: declared(packed=2**20),
        "^the zip cannot be read: file 'manifest.json' is cut short",
    ),
    "bytes-behind-what-deflates": (lambda: deflated_with_more(SCRIPT), UNPACK),
    "a-second-stream-behind": (lambda: deflated_with_more(zlib.compress(b"x", wbits=-15)), UNPACK),
    "bzip2": (lambda: zipped(MEMBERS, zipfile.ZIP_BZIP2), "^the zip cannot be read: .*otherwise than by deflate$"),
    "lzma": (lambda: zipped(MEMBERS, zipfile.ZIP_LZMA), "^the zip cannot be read: .*otherwise than by deflate$"),
    "file-twice": (lambda: renamed(b"proofs/0.tlog-proofs", b"entries/0.ndjson\0\0\0\0"), NAME),
    "same-name-twice": (
        lambda: zipped([*MEMBERS, ("checkpoint", b"")]),
        "^the zip cannot be read: file 'checkpoint' stands twice$",
    ),
    "name-with-nul": (lambda: renamed(b"proofs/0.tlog-proofs", b"proofs/0.tlog\0proofs"), NAME),
    "name-with-escape": (lambda: renamed(b"proofs/0.tlog-proofs", b"proofs/0.tlog\x1bproofs"), NAME),
    "name-with-newline": (lambda: zipped([*MEMBERS, ("a\nholds: 9 entries", b"")]), NAME),
    "name-with-blank": (lambda: zipped([*MEMBERS, ("a b", b"")]), NAME),
    "name-not-ascii": (lambda: zipped([*MEMBERS, ("\u202e", b"")]), NAME),
    "name-empty": (lambda: Member(b"", 0, (0, 33), 0, 0, 0, 0).header() + WHOLE, NAME),
    "unknown-name": (lambda: zipped([*MEMBERS, ("notes.txt", b"")]), "^file 'notes.txt': not in the manifest$"),
    "folder": (
        lambda: zipped([*MEMBERS, ("proofs/", b"")]),
        "^the zip cannot be read: file 'proofs/' is no plain file$",
    ),
    "reordered": (lambda: zipped(MEMBERS[::-1]), "^file '.*': stands where 'manifest.json' has its place$"),
    "fewer-files-in-the-end": (lambda: patched(WHOLE, -14, "<HH", 6, 6), CUT),
    "more-files-in-the-end": (lambda: patched(WHOLE, -14, "<HH", 8, 8), CUT),
    "other-number-on-this-disk": (lambda: patched(WHOLE, -14, "<H", 6), CUT),
    "end-on-another-disk": (lambda: patched(WHOLE, -18, "<H", 1), CUT),
    "directory-on-another-disk": (lambda: patched(WHOLE, -16, "<H", 1), CUT),
    "directory-elsewhere": (lambda: patched(WHOLE, -6, "<I", 0), CUT),
    "shorter-directory": (lambda: patched(WHOLE, -10, "<I", 46), CUT),
    "a-row-more": (lambda: row_more(WHOLE), CUT),
    "a-row-less": (lambda: row_less(WHOLE), ROW),
}


def directory_extra(raw):
    """An extra field that only the directory has."""
    extra = struct.pack("<HH", 0xCAFE, 9) + b"agreed to"
    start = directory(raw)
    length = struct.unpack("<H", raw[start + 28 : start + 30])[0]
    at = start + 46 + length
    out = raw[: start + 30] + struct.pack("<H", len(extra)) + raw[start + 32 : at] + extra + raw[at:]
    out = out[:-10] + struct.pack("<I", len(out) - END - start) + out[-6:]
    assert zipfile.ZipFile(io.BytesIO(out)).testzip() is None
    return out


def row_more(raw):
    """The last file stands in the directory once more."""
    last = raw.rindex(b"PK\1\2")
    row, files = raw[last:-END], struct.unpack("<H", raw[-14:-12])[0]
    size = struct.unpack("<I", raw[-10:-6])[0]
    return raw[:-END] + row + raw[-END:-14] + struct.pack("<HHI", files + 1, files + 1, size + len(row)) + raw[-6:]


def row_less(raw):
    """The last file is not in the directory: its content stands between."""
    last = raw.rindex(b"PK\1\2")
    row, files = raw[last:-END], struct.unpack("<H", raw[-14:-12])[0]
    size = struct.unpack("<I", raw[-10:-6])[0]
    return raw[:last] + raw[-END:-14] + struct.pack("<HHI", files - 1, files - 1, size - len(row)) + raw[-6:]


@pytest.mark.parametrize("trick", TRICKS)
def test_a_zip_that_is_more_than_its_files_is_refused(trick):
    make, message = TRICKS[trick]
    refused(make(), message)


@pytest.mark.parametrize("trick", TRICKS)
def test_both_programs_refuse_it_with_the_same_line(trick, tmp_path, capsys):
    file = tmp_path / "evidence.zip"
    file.write_bytes(TRICKS[trick][0]())
    assert verifier.main([str(file), "--key", SIGNER.vkey]) == 1
    alone = capsys.readouterr()
    assert (alone.out, alone.err.count("\n")) == ("", 1)
    assert f"{file}: {alone.err.strip()}" == Cli(None).fails("verify", file, "--key", SIGNER.vkey, code=1)


def test_whoever_zips_the_same_files_anew_has_evidence_that_holds():
    assert verify_evidence(zipped(infos()), KEYS) == verify_evidence(WHOLE, KEYS)
    assert verify_evidence(zipped(infos(external_attr=0o100644 << 16)), KEYS) == verify_evidence(WHOLE, KEYS)
    assert (
        verify_evidence(deflated_with_more(b""), KEYS)
        == verify_evidence(WHOLE, KEYS)
        == verify_evidence(declared(), KEYS)
    )


def test_what_is_no_file_is_said(tmp_path):
    refused(tmp_path / "none.zip", "^the zip cannot be read: No such file or directory$")
    refused(tmp_path, "^the zip cannot be read: Is a directory$")
    refused("a\0b", "^the zip cannot be read: ")


@pytest.mark.parametrize("name", ["none.zip", "", "\x1b[31m"])
def test_a_name_of_no_file_is_wrong_usage_and_says_nothing_about_evidence(tmp_path, name, capsys):
    with pytest.raises(SystemExit, match="2"):
        verifier.main([str(tmp_path / name), "--key", SIGNER.vkey])
    said = capsys.readouterr().err
    assert "there is no such file: " in said
    assert "\x1b" not in said


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("MAX_ZIP_BYTES", "over 10 bytes$"),
        ("MAX_DIRECTORY_BYTES", "its directory is over 10 bytes$"),
        ("MAX_MANIFEST_BYTES", "^manifest.json: over 10 bytes$"),
        ("MAX_NOTE_BYTES", "^checkpoint: over 10 bytes$"),
        ("MAX_UNPACKED_BYTES", "it unpacks to over 10 bytes$"),
        ("MAX_FILE_BYTES", "file 'manifest.json' unpacks to .* bytes, the limit is 10$"),
        ("MAX_DOCUMENT_BYTES", "^manifest.json: document .* at most 10 bytes$"),
    ],
)
def test_sizes_are_bounded_before_anything_is_unpacked(limit, message, monkeypatch):
    monkeypatch.setattr(verifier, limit, 10)
    if limit != "MAX_DOCUMENT_BYTES":  # which the manifest says
        monkeypatch.setattr(verifier, "_inflated", lambda *_: pytest.fail("unpacked"))
    refused(WHOLE, message)


def bomb(size, says=None):
    """A manifest of blanks, which says that it is smaller."""
    content = b" " * size
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(content) + deflater.flush()
    member = Member(b"manifest.json", 8, (0, 33), zlib.crc32(content), len(packed), says or size, 0)
    head, row = member.header() + packed, member.row()
    second = Member(b"checkpoint", 0, (0, 33), 0, 0, 0, len(head))
    rows = row + second.row()
    return head + second.header() + rows + end_of_zip(2, len(rows), len(head) + len(second.header()))


@pytest.mark.parametrize("says", [None, 100])
def test_a_bomb_is_not_unpacked(says):
    raw = bomb(64 << 20, says)
    tracemalloc.start()
    refused(raw, "^manifest.json: over 16777216 bytes$" if says is None else "does not unpack to what its header says$")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["entries/0.ndjson", "proofs/0.tlog-proofs", "checkpoint"])
def test_a_file_of_nothing_but_line_ends_takes_no_more_memory_than_it_has_bytes(name):
    evidence = Evidence()
    evidence.files[name] = b"\n" * (8 << 20)
    raw = evidence.zipped()
    del evidence
    tracemalloc.start()
    refused(raw, "^(file|checkpoint: over)")
    assert tracemalloc.get_traced_memory()[1] < 24 << 20
    tracemalloc.stop()


# -- more files than the end record can count --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """A zip of 65,540 files, as long evidence of version 1 has them."""
    return zipped([(f"{number:x}", b"") for number in range(65_540)])


def at_end(raw, at, form, *values):
    """Other values in the last records; `at` counts from their beginning."""
    return patched(raw, len(raw) - END - END64 + at, form, *values)


ALL = END + END64
# Name of the damage: what does it to the records of ZIP64 at the end, which begin with PK0606.
DAMAGES = {
    "fewer-files": lambda z: at_end(z, 24, "<QQ", 65_537, 65_537),
    "files-here-and-in-all": lambda z: at_end(z, 24, "<Q", 65_536),
    "as-few-as-need-no-zip64": lambda z: at_end(z, 24, "<QQ", 65_535, 65_535),
    "another-number-in-the-end-record": lambda z: at_end(z, 84, "<HH", 9, 9),
    "longer-record": lambda z: at_end(z, 4, "<Q", 45),
    "other-versions": lambda z: at_end(z, 12, "<HH", 46, 45),
    "other-part": lambda z: at_end(z, 16, "<I", 1),
    "directory-in-another-part": lambda z: at_end(z, 20, "<I", 1),
    "shorter-directory": lambda z: at_end(z, 40, "<Q", 1000),
    "directory-elsewhere": lambda z: at_end(z, 48, "<Q", 0),
    "no-record": lambda z: at_end(z, 0, "<4s", b"PK\6\5"),
    "no-locator": lambda z: at_end(z, 56, "<4s", b"PK\6\5"),
    "locator-elsewhere": lambda z: at_end(z, 64, "<Q", 0),
    "locator-of-several": lambda z: at_end(z, 72, "<I", 2),
    "record-left-out": lambda z: z[:-ALL] + z[-42:],
    "locator-left-out": lambda z: z[:-42] + z[-END:],
    "both-left-out": lambda z: z[:-ALL] + z[-END:],
    "bytes-between": lambda z: z[:-ALL] + b"x" + z[-ALL:],
    "bytes-behind": lambda z: z + b"x",
    "bytes-in-front": lambda z: b"x" + z,
    "a-second-record": lambda z: z[:-ALL] + z[-ALL:-42] + z[-ALL:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_zip64_is_held_to_one_reading(many, damage):
    broken = DAMAGES[damage](many)
    assert broken != many
    with pytest.raises(EvidenceError, match=r"^the zip cannot be read: "):
        verify_evidence(broken, KEYS)


def test_zip64_is_read_where_it_is_needed_and_only_there(many):
    refused(many, "^file 'manifest.json': missing from the zip$")
    fewer = zipped([(f"{number:x}", b"") for number in range(65_535)])
    refused(fewer, "^file 'manifest.json': missing from the zip$")
    refused(with_zip64_records(fewer), CUT)
