"""Clear text that would identify somebody: e-mail addresses, telephone, payment card and national numbers.

Facts in entries stay for ever, so no clear string of an event may look like one of these; and a policy can forbid card
and national numbers in personal fields, which are erasable. Strings are judged by form, and by check digit where one
exists: nothing is looked up. docs/reference/clear-text.md has every form, what is left out, and the measurements.

Three rules keep identifiers out of it:

* a number joined to a letter or digit, directly or by one of `-._`, is part of a token (UUID, digest, ORD-2026-000123);
* a run of at most 12 digits without separators is an order number or a time, unless a word in front says otherwise;
* a form that shares its shape with dated order numbers needs that word as well where its date is a recent one.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from consent_ledger.ledger.identifiers.marks import normalised


class Kind(enum.StrEnum):
    """What a piece of text looks like."""

    EMAIL = "email"
    TELEPHONE = "telephone"
    CARD = "card"
    NATIONAL = "national"


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found. `what` names the sort of number for people to read, and never contains the value."""

    kind: Kind
    what: str


_EMAIL_HIT: Final = Hit(Kind.EMAIL, "e-mail address")
_TELEPHONE_HIT: Final = Hit(Kind.TELEPHONE, "telephone number")

# -- check digits ------------------------------------------------------------------------------------------------------

_TWICE: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # a digit doubled, its digits added
# Verhoeff's tables: multiplication in the dihedral group of order ten, and a permutation that moves with the position.
_DIHEDRAL: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_PERMUTATIONS: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    from_right = [int(digit) for digit in reversed(digits)]
    return (sum(from_right[::2]) + sum(_TWICE[digit] for digit in from_right[1::2])) % 10 == 0


def _verhoeff(digits: str) -> bool:
    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = _DIHEDRAL[check][_PERMUTATIONS[position % 8][int(digit)]]
    return check == 0


def _weighted(digits: str, *weights: int) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _short_date(year: str, month: str, day: str) -> bool:
    """Check a day of a year of which two digits are known: 29 February passes, as 2000 had one."""
    return _is_date(2000, int(month), int(day)) and year.isdigit()


# -- national numbers --------------------------------------------------------------------------------------------------
# Each check takes the number without separators, in capitals, and says whether it is a possible one: length, parts that
# are never issued, date, check digit. Names are of the country (ISO 3166) and the number.

_SSN: Final = re.compile(r"(?!000|666|9)\d{3}(?!00)\d\d(?!0000)\d{4}")
_ITIN: Final = re.compile(r"9\d\d(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])\d{4}")
_NINO: Final = re.compile(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]")
_NIR: Final = re.compile(r"[1-478]\d\d(?:0[1-9]|1[0-2]|20|3\d|4[0-2]|[5-9]\d)(?:\d\d|2[AB])\d{6}\d\d")
_CF: Final = re.compile(r"[A-Z]{6}[\dLMNPQRSTUV]{2}[ABCDEHLMPRST][\dLMNPQRSTUV]{2}[A-Z][\dLMNPQRSTUV]{3}[A-Z]")
_CURP: Final = re.compile(r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HMX][A-Z]{5}[A-Z\d]\d")
# Qinghai and Ningxia with their prefectures: times in ticks of 100 ns begin with 63 and 64 from 1997 to 2060.
_CHINESE: Final = re.compile(
    r"(?:(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[125]|71|8[1-3]|91)\d\d|63(?:0[12]|2[1-8])|64(?:0[1-5]|2[12]))"
    r"\d\d(?:19\d\d|20\d\d)\d{7}[\dX]"
)
_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU_LETTERS: Final = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_CURP_LETTERS: Final = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
# What a character is worth at an odd place of a codice fiscale (decree of 23 December 1976): 0-9, then A-Z.
_CF_ODD: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _us_ssn(text: str) -> bool:
    """SSA, RM 10201.035: areas 000, 666 and 900-999, group 00 and serial 0000 are impossible. No check digit."""
    return _SSN.fullmatch(text) is not None


def _us_itin(text: str) -> bool:
    return _ITIN.fullmatch(text) is not None


def _gb_nino(text: str) -> bool:
    """HMRC, NIM39110: letters and pairs of letters that are never issued. No check digit."""
    return _NINO.fullmatch(text) is not None


def _gb_nhs(text: str) -> bool:
    if len(text) != 10 or not text.isdigit():
        return False
    return (11 - _weighted(text, 10, 9, 8, 7, 6, 5, 4, 3, 2) % 11) % 11 == int(text[9])


def _ca_sin(text: str) -> bool:
    """Luhn; no number begins with 8 or 000."""
    return len(text) == 9 and text.isdigit() and text[0] != "8" and not text.startswith("000") and _luhn(text)


def _fr_nir(text: str) -> bool:
    """INSEE: the key is 97 less the rest modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    if not _NIR.fullmatch(text):
        return False
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(text[13:])


def _de_idnr(text: str) -> bool:
    """AO § 139b: ISO/IEC 7064 mod 11,10; of the first ten digits exactly one comes twice or thrice, none else twice."""
    if len(text) != 11 or not text.isdigit() or text[0] == "0":
        return False
    counts = sorted(text[:10].count(digit) for digit in set(text[:10]))
    if counts[-1] not in (2, 3) or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for digit in text[:10]:
        product = (((int(digit) + product) % 10) or 10) * 2 % 11
    return (11 - product) % 10 == int(text[10])


def _es_dni(text: str) -> bool:
    """Ministry of the Interior: the letter is the rest modulo 23; a NIE's X, Y, Z count as 0, 1, 2."""
    digits = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return len(text) == 9 and digits.isdigit() and _DNI_LETTERS[int(digits) % 23] == text[8]


def _it_cf(text: str) -> bool:
    """Decree of 23 December 1976: odd places by a table, even ones by value, modulo 26."""
    if not _CF.fullmatch(text):
        return False
    values = [int(char) if char.isdigit() else ord(char) - 65 for char in text[:15]]
    return (sum(_CF_ODD[value] for value in values[::2]) + sum(values[1::2])) % 26 == ord(text[15]) - 65


def _nl_bsn(text: str) -> bool:
    """Apply the 11-test, the last digit counting -1."""
    return (
        len(text) == 9
        and text.isdigit()
        and not text.startswith("00")
        and _weighted(text, 9, 8, 7, 6, 5, 4, 3, 2, -1) % 11 == 0
    )


def _be_niss(text: str) -> bool:
    """97 less the rest modulo 97, with a 2 in front for births from 2000; months +20, +40 for bis numbers."""
    if len(text) != 11 or not text.isdigit() or int(text[2:4]) % 20 > 12 or int(text[2:4]) >= 60 or text[4:6] > "31":
        return False
    return int(text[9:]) in (97 - int(text[:9]) % 97, 97 - int("2" + text[:9]) % 97)


def _pl_pesel(text: str) -> bool:
    """Date (the month says the century) and weights 1, 3, 7, 9."""
    if len(text) != 11 or not text.isdigit() or not _short_date(text[:2], str(int(text[2:4]) % 20), text[4:6]):
        return False
    return _weighted(text, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1) % 10 == 0


def _se_pnr(text: str) -> bool:
    """SKV 704: Luhn over the last ten digits; days +60 for coordination numbers."""
    if len(text) not in (10, 12) or not text.isdigit() or (len(text) == 12 and text[:2] not in ("18", "19", "20")):
        return False
    short = text[-10:]
    day = int(short[4:6])
    return _short_date(short[:2], short[2:4], str(day - 60 if day > 60 else day)) and _luhn(short)


def _no_fnr(text: str) -> bool:
    """Two check digits modulo 11; days +40 for D numbers."""
    if len(text) != 11 or not text.isdigit():
        return False
    day = int(text[:2])
    return (
        _short_date(text[4:6], text[2:4], str(day - 40 if day > 40 else day))
        and _weighted(text, 3, 7, 6, 1, 8, 9, 4, 5, 2, 1) % 11 == 0
        and _weighted(text, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1) % 11 == 0
    )


def _dk_cpr(text: str) -> bool:
    """Date and the 11-test, which numbers issued since 2007 may fail."""
    return (
        len(text) == 10
        and text.isdigit()
        and _short_date(text[4:6], text[2:4], text[:2])
        and _weighted(text, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1) % 11 == 0
    )


def _fi_hetu(text: str) -> bool:
    """Date and the rest modulo 31 as a letter. The sign of the century is between, or went with the separators."""
    digits = text[:6] + text[-4:-1]
    return (
        len(text) in (10, 11)
        and digits.isdigit()
        and _short_date(text[4:6], text[2:4], text[:2])
        and _HETU_LETTERS[int(digits) % 31] == text[-1]
    )


def _ch_ahv(text: str) -> bool:
    """EAN-13 with Switzerland's 756."""
    return len(text) == 13 and text.isdigit() and text[:3] == "756" and _weighted(text, *(1, 3) * 6, 1) % 10 == 0


def _at_svnr(text: str) -> bool:
    """Check the date, and the fourth digit by weights modulo 11."""
    if len(text) != 10 or not text.isdigit() or text[0] == "0":
        return False
    return _short_date(text[8:], text[6:8], text[4:6]) and _weighted(text, 3, 7, 9, 0, 5, 8, 4, 2, 1, 6) % 11 == int(
        text[3]
    )


def _cz_rc(text: str) -> bool:
    """Czechia and Slovakia: date (months +50 for women, +20 more when a day ran out), a multiple of 11."""
    if len(text) != 10 or not text.isdigit():
        return False
    month = int(text[2:4]) % 50
    return _short_date(text[:2], str(month - 20 if month > 20 else month), text[4:6]) and int(text) % 11 == 0


def _pt_nif(text: str) -> bool:
    if len(text) != 9 or not text.isdigit() or text[0] not in "123":  # people; the rest are bodies
        return False
    return (11 - _weighted(text, 9, 8, 7, 6, 5, 4, 3, 2) % 11) % 11 % 10 == int(text[8])


def _ie_pps(text: str) -> bool:
    """Letter modulo 23; the second letter, where there is one, counts nine times."""
    if not re.fullmatch(r"\d{7}[A-W][A-IW]?", text):
        return False
    second = "WABCDEFGHI".index(text[8]) * 9 if len(text) == 9 else 0
    return "WABCDEFGHIJKLMNOPQRSTUV"[(_weighted(text[:7], 8, 7, 6, 5, 4, 3, 2) + second) % 23] == text[7]


def _br_cpf(text: str) -> bool:
    """Two check digits modulo 11; eleven times the same digit is none."""
    if len(text) != 11 or not text.isdigit() or len(set(text)) == 1:
        return False
    first = _weighted(text[:9], 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
    second = _weighted(text[:10], 11, 10, 9, 8, 7, 6, 5, 4, 3, 2) * 10 % 11 % 10
    return text[9:] == f"{first}{second}"


def _cl_rut(text: str) -> bool:
    digits = text[:-1]
    if len(text) not in (8, 9) or not digits.isdigit():
        return False
    rest = 11 - _weighted(digits[::-1], 2, 3, 4, 5, 6, 7, 2, 3) % 11
    return text[-1] == ("0" if rest == 11 else "K" if rest == 10 else str(rest))


def _mx_curp(text: str) -> bool:
    if not _CURP.fullmatch(text) or not _short_date(text[4:6], text[6:8], text[8:10]):
        return False
    total = sum(_CURP_LETTERS.index(char) * (18 - place) for place, char in enumerate(text[:17]))
    return (10 - total % 10) % 10 == int(text[17])


def _in_aadhaar(text: str) -> bool:
    """UIDAI: Verhoeff; none begins with 0 or 1."""
    return len(text) == 12 and text.isdigit() and text[0] not in "01" and _verhoeff(text)


def _cn_ric(text: str) -> bool:
    """GB 11643: province, date, ISO/IEC 7064 mod 11-2."""
    if not _CHINESE.fullmatch(text) or not _is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])):
        return False
    return "10X98765432"[_weighted(text, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2) % 11] == text[17]


def _kr_rrn(text: str) -> bool:
    """Date, and a check digit that numbers issued since October 2020 may fail."""
    return (
        len(text) == 13
        and text.isdigit()
        and _short_date(text[:2], text[2:4], text[4:6])
        and (11 - _weighted(text, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5) % 11) % 10 == int(text[12])
    )


def _sg_nric(text: str) -> bool:
    if not re.fullmatch(r"[STFGM]\d{7}[A-Z]", text):
        return False
    total = _weighted(text[1:8], 2, 7, 6, 5, 4, 3, 2) + {"T": 4, "G": 4, "M": 3}.get(text[0], 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "M": "XWUTRQPNJLK"}.get(text[0], "XWUTRQPNMLK")
    return letters[total % 11] == text[8]


def _hk_hkid(text: str) -> bool:
    if not re.fullmatch(r"[A-Z]{1,2}\d{6}[\dA]", text):
        return False
    values = [int(char) if char.isdigit() else ord(char) - 55 for char in text[:-1].rjust(8, "%")]
    values = [36 if value == ord("%") - 55 else value for value in values]
    total = sum(value * weight for value, weight in zip(values, (9, 8, 7, 6, 5, 4, 3, 2), strict=True))
    return (total + (10 if text[-1] == "A" else int(text[-1]))) % 11 == 0


def _za_id(text: str) -> bool:
    return (
        len(text) == 13
        and text.isdigit()
        and _short_date(text[:2], text[2:4], text[4:6])
        and text[10] in "012"
        and _luhn(text)
    )


def _tr_kimlik(text: str) -> bool:
    if len(text) != 11 or not text.isdigit() or text[0] == "0":
        return False
    values = [int(digit) for digit in text]
    return (sum(values[0:9:2]) * 7 - sum(values[1:8:2])) % 10 == values[9] and sum(values[:10]) % 10 == values[10]


def _au_tfn(text: str) -> bool:
    return len(text) == 9 and text.isdigit() and _weighted(text, 1, 4, 3, 7, 5, 8, 6, 9, 10) % 11 == 0


def _jp_number(text: str) -> bool:
    if len(text) != 12 or not text.isdigit():
        return False
    rest = _weighted(text, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
    return (0 if rest <= 1 else 11 - rest) == int(text[11])


# -- forms that need a word in front -----------------------------------------------------------------------------------


def _always(_: str) -> bool:
    return True


def _not_dated(text: str) -> bool:
    """Refuse a compact recent date in front of more digits: orders are numbered 20260102-0001 and 260102-0001."""
    if not text.isdigit():  # a check letter
        return True
    if len(text) == 12:
        return not (text[:2] == "20" and "15" <= text[2:4] <= "39")
    return not ("15" <= text[:2] <= "39" and _short_date(text[:2], text[2:4], text[4:6]))


def _no_calendar(text: str) -> bool:
    """Refuse the front of a calendar version or a compact date: 2026.01.150, 20260102T."""
    return not (text[:2] in ("19", "20") and "01" <= text[4:6] <= "12")


def _grown_up(text: str) -> bool:
    """Tell a birth date from the recent dates that identifiers of 18 digits have in the middle."""
    return text[6:10] < "2015"


@dataclass(frozen=True, slots=True)
class _Number:
    """A national number: how it is written, by which words it is called, and when it is a possible one."""

    what: str
    check: Callable[[str], bool]
    shapes: tuple[str, ...] = ()  # groups of digits that count without a word in front; every digit is a 9
    pattern: str = ""  # the same for forms with letters, or with parts that a shape cannot say
    words: tuple[str, ...] = ()  # behind which any form counts that begins with a digit
    unless: Callable[[str], bool] = _always  # what a form without a word in front must be besides


_NUMBERS: Final = (
    _Number(
        "US social security number",
        _us_ssn,
        ("999-99-9999", "999 99 9999"),
        words=("ssn", "social security"),
    ),
    _Number("US taxpayer number", _us_itin, words=("itin",)),
    _Number(
        "UK National Insurance number",
        _gb_nino,
        pattern=r"[A-Z]{2}(?:(SEP[ -]?)\d\d\g\d\d\g\d\d\g| \d{6} )[A-D]",
    ),
    _Number("UK NHS number", _gb_nhs, words=("nhs",)),
    _Number(
        "Canadian social insurance number",
        _ca_sin,
        ("999-999-999", "999 999 999"),
        words=("sin", "social insurance"),
    ),
    _Number(
        "French social security number",
        _fr_nir,
        pattern=r"(?:[12]\d\d(?:0[1-9]|1[0-2])(?:\d\d|2[AB])\d{6} ?\d\d"
        r"|[1-478](SEP[ .-])\d\d\g\d\d\g(?:\d\d|2[AB])\g\d{3}\g\d{3}[ .-]\d\d)",
        words=("nir", "insee", "securite sociale", "sécurité sociale", "numero de securite sociale"),
    ),
    _Number(
        "German tax number",
        _de_idnr,
        ("99 999 999 999",),
        words=("idnr", "steuer id", "steuerid", "steueridentifikationsnummer", "identifikationsnummer", "steuernummer"),
    ),
    _Number(
        "Spanish identity number",
        _es_dni,
        pattern=r"(?:\d{8}|\d\d\.\d{3}\.\d{3}|[XYZ][ -]?\d{7})[ -]?[A-Z]",
        words=("dni", "nie", "nif"),
        unless=_no_calendar,
    ),
    _Number(
        "Italian tax code",
        _it_cf,
        pattern=r"[A-Z]{3} ?[A-Z]{3} ?[\dL-NP-V]{2}[A-Z][\dL-NP-V]{2} ?[A-Z][\dL-NP-V]{3} ?[A-Z]",
    ),
    _Number(
        "Dutch citizen service number",
        _nl_bsn,
        ("9999.99.999",),
        words=("bsn", "burgerservicenummer", "sofinummer"),
        unless=_no_calendar,
    ),
    _Number(
        "Belgian national register number",
        _be_niss,
        ("99.99.99-999.99", "99.99.99-999 99", "99 99 99 999 99", "999999-999-99", "999999-999.99", "999999 999 99"),
        words=("niss", "insz", "rijksregisternummer", "registre national"),
    ),
    _Number("Polish PESEL", _pl_pesel, words=("pesel",)),
    _Number(
        "Swedish personal identity number",
        _se_pnr,
        ("999999-9999", "99999999-9999", "999999+9999", "99999999+9999"),
        words=("personnummer", "samordningsnummer"),
        unless=_not_dated,
    ),
    _Number(
        "Norwegian national identity number",
        _no_fnr,
        ("999999 99999",),
        words=("fodselsnummer", "fødselsnummer", "fnr"),
    ),
    _Number(
        "Danish CPR number",
        _dk_cpr,
        ("999999-9999",),
        words=("cpr", "cpr nummer", "personnummer"),
        unless=_not_dated,
    ),
    _Number(
        "Finnish personal identity code",
        _fi_hetu,
        pattern=r"\d{6}[-+A-FU-Y]\d{3}[\dA-FHJ-NPR-Y]",
        words=("hetu", "henkilotunnus", "henkilötunnus"),
        unless=_not_dated,
    ),
    _Number(
        "Swiss AHV number",
        _ch_ahv,
        ("999.9999.9999.99", "999 9999 9999 99", "9999999999999"),
        words=("ahv", "avs"),
    ),
    _Number(
        "Austrian social insurance number", _at_svnr, ("9999 999999",), words=("svnr", "sozialversicherungsnummer")
    ),
    _Number(
        "Czech or Slovak birth number",
        _cz_rc,
        ("999999/9999",),
        words=("rodne cislo", "rodné číslo"),
        unless=_not_dated,
    ),
    _Number("Portuguese tax number", _pt_nif, words=("nif", "contribuinte")),
    _Number("Irish PPS number", _ie_pps, words=("pps", "ppsn")),
    _Number("Brazilian CPF", _br_cpf, ("999.999.999-99",), words=("cpf",)),
    _Number("Chilean RUT", _cl_rut, pattern=r"\d{1,2}\.\d{3}\.\d{3}-[\dK]", words=("rut",)),
    _Number("Mexican CURP", _mx_curp, pattern=r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z\d]\d"),
    _Number("Indian Aadhaar number", _in_aadhaar, ("9999 9999 9999", "9999-9999-9999"), words=("aadhaar", "aadhar")),
    _Number("Chinese resident identity number", _cn_ric, pattern=r"\d{17}[\dX]", words=("身份证",), unless=_grown_up),
    _Number("South Korean resident number", _kr_rrn, ("999999-9999999",), words=("rrn",), unless=_not_dated),
    _Number("Singaporean identity number", _sg_nric, pattern=r"[STFGM]\d{7}[A-Z]"),
    _Number("Hong Kong identity number", _hk_hkid, pattern=r"[A-Z]{1,2}\d{6}\([\dA]\)"),
    _Number("South African identity number", _za_id, ("999999 9999 999", "999999-9999-999"), words=("rsa id", "sa id")),
    _Number("Turkish identity number", _tr_kimlik, words=("kimlik", "tckn", "tc kimlik")),
    _Number("Australian tax file number", _au_tfn, words=("tfn", "tax file")),
    # without the long vowel sign at its end, which passes for a dash
    _Number("Japanese individual number", _jp_number, words=("my number", "マイナンバ", "個人番号")),
)

# -- payment cards -----------------------------------------------------------------------------------------------------
# Issuer prefixes and lengths as the networks publish them (issuer identification numbers, ISO/IEC 7812-1).

_VISA: Final = ("Visa", re.compile(r"4(?:\d{12}|\d{15}|\d{18})"))
_MASTERCARD: Final = ("Mastercard", re.compile(r"(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"))
_AMEX: Final = ("American Express", re.compile(r"3[47]\d{13}"))
_DISCOVER: Final = ("Discover", re.compile(r"(?:6011|64[4-9]\d|65\d\d)\d{12,15}"))
_DINERS: Final = ("Diners Club", re.compile(r"(?:30[0-5]\d|3095|36\d\d|3[89]\d\d)\d{10,15}"))
_JCB: Final = ("JCB", re.compile(r"35(?:2[89]|[3-8]\d)\d{12,15}"))
_UNIONPAY: Final = ("UnionPay", re.compile(r"62\d{14,17}"))
_MAESTRO: Final = ("Maestro", re.compile(r"(?:50(?:18|20|38)|5[6-8]\d\d|6304|67\d\d|0604)\d{8,15}"))
_NETWORKS: Final = {  # by first digit
    "0": (_MAESTRO,),
    "2": (_MASTERCARD,),
    "3": (_AMEX, _DINERS, _JCB),
    "4": (_VISA,),
    "5": (_MASTERCARD, _MAESTRO),
    "6": (_DISCOVER, _UNIONPAY, _MAESTRO),
}
# Lengths that are issued today. Others (Visa's old 13 digits, Maestro's 12, anything of 17 or 18) count as they are
# embossed or after a word: bare, and grouped otherwise, they would mostly be trade item and order numbers.
_COMMON: Final = {"American Express": (15,), "Diners Club": (14, 16, 19)}
_WHOLE: Final = frozenset(
    {(4, 4, 4), (4, 4, 5), (4, 3, 3, 3), *((4, 4, 4, last) for last in (1, 2, 3)), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2)}
)
_WITHIN: Final = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4))


def _network(digits: str, *, rare: bool) -> Hit | None:
    for name, pattern in _NETWORKS.get(digits[0], ()):
        if pattern.fullmatch(digits) and (rare or len(digits) in _COMMON.get(name, (16, 19))) and _luhn(digits):
            return Hit(Kind.CARD, f"payment card ({name})")
    return None


def _card(run: str) -> Hit | None:
    """Find a card in a run of groups: the whole run however it is grouped, else a part grouped as cards are."""
    groups = _DIGITS.findall(run)
    lengths = tuple(map(len, groups))
    hit = None
    if 12 <= sum(lengths) <= 19 and (_AS_ON_CARDS.fullmatch(run) or lengths in _WHOLE or lengths in _WITHIN):
        hit = _network("".join(groups), rare=lengths in _WHOLE)
    if hit is None and len(groups) > 2:
        for first in range(len(groups) - 1):
            for shape in _WITHIN:
                if lengths[first : first + len(shape)] == shape:
                    hit = hit or _network("".join(groups[first : first + len(shape)]), rare=False)
    return hit


# -- telephone ---------------------------------------------------------------------------------------------------------

# ITU-T E.164: a plus, a country code, at most 15 digits.
_INTERNATIONAL: Final = re.compile(r"(?<![0-9A-Za-z+])\+ ?\(?[1-9](?:[ ()./-]{0,3}[0-9]){6,14}(?![0-9])")
_AREA_IN_BRACKETS: Final = re.compile(
    r"(?<![0-9A-Za-z])\("
    r"(?:[2-9]\d\d\)[ .-]?[2-9]\d\d[ .-]?\d{4}|0[1-9]\d{0,3}\)[ -]?\d{2,4}(?:[ -]?\d{2,5}){1,3})(?!\d)"
)
_NATIONAL_FORM: Final = re.compile(
    r"(?:1[ .-])?\d{3}-\d{3}-\d{4}"
    r"|(?:1[ .])?[2-9]\d\d([ .])[2-9]\d\d\1\d{4}"
    r"|(?:1[ -])?[2-9]\d\d[ /][2-9]\d\d[.-]\d{4}"
    r"|0[1-9]([ ./-])\d\d(?:\2\d\d){3}"
    # a trunk zero and groups; not 01 2026 0001 (month, year, number) nor 046 454 286 (a social insurance number)
    r"|(?=0)(?!\d\d[ -](?:19|20)\d\d[ -]|\d{3}-(?:19|20)\d\d-|\d{3} \d{3} \d{3}$)"
    r"(?:(?=(?:[ -]?\d){9,11}$)0[1-9]\d{0,3}(?: \d{2,8}){1,4}"
    r"|(?=(?:[ -]?\d){9,11}$)0[1-9]\d{0,3}-\d{2,4}(?: \d{2,4}){1,3}"
    r"|0[1-9]\d{1,3} \d{8}"
    r"|0[1-9]\d?-\d{4}-\d{4}|0[1-9]\d\d-\d{3}-\d{3,4}|0[1-9]\d{1,2}-\d{7,8}|0[1-9]\d{3}-\d{6})"
    r"|(?=00)(?=(?: ?\d){10,15}$)00 ?[1-9]\d{0,2}(?: \d{2,8}){2,5}"
    r"|1[3-9]\d([ -])\d{4}\3\d{4}"  # China
    r"|[6-9]\d{4} \d{5}"  # India
)
_LOCAL_FORM: Final = re.compile(r"\d{3}-\d{4}|0[1-9]\d{1,3}/\d{5,8}")  # counts only when it stands alone
_DATED: Final = re.compile(
    r"(?:19|20)\d\d(?:[ ./_-]|(?:0[1-9]|1[0-2])\d\d(?!\d))|\d\d?([./-])\d\d?\1(?:19|20)?\d\d(?!\d)"
)


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return (not before or before in " ([{\"'<,;") and (not after or after in " )]}\"'>,;.:!?")


# -- words in front ----------------------------------------------------------------------------------------------------

_CARD_WORDS: Final = (
    *("card", "visa", "mastercard", "amex", "american express", "discover", "diners", "diners club", "jcb", "unionpay"),
    *("maestro", "pan", "carte", "tarjeta", "karte", "kreditkarte", "carta", "kort", "cartao", "卡号"),
)
_TELEPHONE_WORDS: Final = (
    *("tel", "telephone", "phone", "telefon", "telefono", "teléfono", "téléphone", "telefone", "telefonnummer"),
    *("fax", "whatsapp", "mobile number", "mobile no", "cell number", "handynummer", "tlf", "puh", "电话", "電話"),
)
_NATIONAL_WORDS: Final = (
    *("national id", "national identity", "national identification", "personal identity", "personal identification"),
    *("tax id", "tax identification"),
)
_LITTLE_WORDS: Final = ("number", "num", "nr", "no", "id", "is")


def _words() -> dict[str, tuple[_Number, ...]]:
    """Word -> the national numbers it announces; none for cards and telephones."""
    found: dict[str, tuple[_Number, ...]] = dict.fromkeys(_NATIONAL_WORDS, _NUMBERS)
    for row in _NUMBERS:
        for word in row.words:
            found[word] = (*found.get(word, ()), row)
    return found


_WORDS: Final = _words()


def _announced() -> re.Pattern[str]:
    """Build the pattern of a word of any list, little words after it, and digits with at most two letters behind."""
    words = sorted({*_CARD_WORDS, *_TELEPHONE_WORDS, *_WORDS}, key=len, reverse=True)
    either = "|".join(re.escape(word).replace(r"\ ", "[ _-]?") for word in words)
    return re.compile(
        rf"(?<![A-Za-z])({either})(?:[ _-]?(?:{'|'.join(_LITTLE_WORDS)}))*[ :=#._-]{{0,3}}\+?"
        r"([0-9]+(?:[ ./-][0-9]+)*[A-Z]{0,2})(?![0-9A-Za-z])(?![._-][0-9A-Za-z])",
        re.IGNORECASE,
    )


def _shapes() -> dict[str, tuple[_Number, ...]]:
    found: dict[str, tuple[_Number, ...]] = {}
    for row in _NUMBERS:
        for shape in row.shapes:
            found[shape] = (*found.get(shape, ()), row)
    return found


def _patterns() -> dict[_Number, re.Pattern[str]]:
    r"""Compile the patterns of rows: in each of them `\g` repeats what its SEP matched."""
    return {
        row: re.compile(
            row.pattern.replace("(SEP", f"(?P<s{place}>").replace(r"\g", f"(?P=s{place})"), re.ASCII | re.IGNORECASE
        )
        for place, row in enumerate(_NUMBERS)
        if row.pattern
    }


def _any_pattern() -> re.Pattern[str]:
    either = "|".join(pattern.pattern for pattern in _PATTERNS.values())
    return re.compile(
        rf"(?<![0-9A-Za-z])(?<![0-9A-Za-z][._-])(?:{either})(?![0-9A-Za-z])(?![._-][0-9A-Za-z])",
        re.ASCII | re.IGNORECASE,
    )


_SHAPES: Final = _shapes()
# Whether any word is in front of digits is seen at its end, at a tenth of the cost.
_IN_FRONT: Final = re.compile(r"(?<![A-Za-z])([A-Za-z]++)[ :=#._-]{0,3}\+?[0-9]")
_ENDS: Final = frozenset(word.split()[-1] for word in (*_CARD_WORDS, *_TELEPHONE_WORDS, *_LITTLE_WORDS, *_WORDS))
_PATTERNS: Final = _patterns()
_LETTERED: Final = _any_pattern()
_ANNOUNCED: Final = _announced()

# -- looking -----------------------------------------------------------------------------------------------------------

# Every form has an @ or six digits, and most clear strings have neither: this is all that is spent on them. Possessive,
# so that the text is read at most twice.
_WORTH: Final = re.compile(r"(?:[^0-9]*+[0-9]){6}|[^@%]*+[@%]").match
_WORTH_AS_NUMBER: Final = re.compile(r"(?:[^0-9]*+[0-9]){6}|[^%]*+%").match
# Whole strings that cannot be any of them, and are most of the rest: UUIDs, times, digests, bare digits of a length and
# beginning that no card (not 1, 7, 8, 9) and no national number (15 and 18 digits) has.
_PLAIN: Final = re.compile(
    r"(?:urn:uuid:)?[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    r"|\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)?)?"
    r"|\d{1,12}|(?!756)\d{13}|\d{17}|[12789](?:\d{13}|\d{18})|[1789]\d{15}|[0-9A-Fa-f]{20,}",
    re.ASCII,
).fullmatch
# The part before the @ needs no more than a last character, which also keeps this linear. After a slash or an opening
# quote it is a handle (https://host/@ann.smith), before 2x.png a file name, before 1.2.3 or v1.2-rc.one a version.
_EMAIL: Final = re.compile(
    r"(?:(?<=[\w+%$!~-])|(?<=\w[\"'.])|(?<=[^\x00-\x7f‘-‟«»]))"  # noqa: RUF001  quotation marks are meant
    r"@(?!\dx\.|v?\d+\.\d+[.-])(?:(?:[\w-]{1,63}\.)+(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})(?![\w-])|\[[0-9A-Za-z:.]{3,}\])",
    re.IGNORECASE,
)
# Groups of digits with one separator between; joined to a letter or digit at neither end, but for an extension.
_RUN: Final = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9A-Za-z][._-])[0-9]++(?:(?:[ ./_+]| ?- ?)[0-9]++)*"
    r"(?:(?![0-9A-Za-z])(?![._-][0-9A-Za-z])|(?=(?:x|ext)\.? ?[0-9]))"
)
# As many digits as today's cards, and no date with its year behind: 30-05-2026 30-06-2026 begins as a Diners Club card.
_AS_ON_CARDS: Final = re.compile(
    r"(?=(?:[ -]{0,3}[0-9]){14,19}$)(?!(?:.*[ -])?[0-9]{1,2}-[0-9]{1,2}-(?:19|20)[0-9]{2}(?![0-9]))[0-9 -]+"
)
_DIGITS: Final = re.compile(r"[0-9]+")
_SEPARATORS: Final = str.maketrans("", "", " .-/_+()")
_NINES: Final = str.maketrans("0123456789", "9" * 10)
_LOWER_HEX: Final = re.compile(r"[0-9a-f]+")
_FOREIGN: Final = re.compile(r"[^\x00-\x7f]")
_SPACES: Final = re.compile(r"\s+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# Characters whose Unicode category does not say how they look: dashes, dots, blanks.
_LOOKS: Final = {
    **dict.fromkeys("\u2212\u2043\u30fc\uff70\u2796", "-"),
    **dict.fromkeys("\u00b7\u2022\u2219\u2027\u30fb\u3002\uff61\u22c5", "."),
    **dict.fromkeys("\u2800\u3164\u115f\u1160\uffa0", " "),
    "\u2795": "+",
    "\u2044": "/",
    "\u2215": "/",
}


@lru_cache(maxsize=4096)
def _ascii(char: str) -> str:
    """Replace a character beyond ASCII by what it passes for: digit, dash, blank; nothing where nothing is seen."""
    look = _LOOKS.get(char)
    if look is not None:
        return look
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf", "Cc"):  # marks over digits, zero width, soft hyphens, direction
        return ""
    if category == "Pd":
        return "-"
    digit = unicodedata.digit(char, None)
    if digit is not None:  # any script's, and in circles, superscript, with a full stop
        return str(digit)
    plain = unicodedata.normalize("NFKC", char)
    if category[0] in "LM" or not any("0" <= one <= "z" and one.isalnum() for one in plain):
        return plain
    number = plain.strip("(). ")
    return number if number.isdecimal() else " "  # a sign made of letters separates, it does not join


def _fold(text: str) -> str:
    """Reduce a text to what it looks like: ASCII where that is possible (UAX 15, NFKC and more), single spaces."""
    if not text.isascii():
        text = _FOREIGN.sub(lambda match: _ascii(match[0]), normalised("NFC", text))
    if "  " in text or not text.isprintable():
        text = _CONTROL.sub("", _SPACES.sub(" ", text))
    return text


def _pieces(text: str) -> list[tuple[int, str]]:
    """Take runs of groups of digits, and their parts between spaces and slashes, with their places."""
    found = []
    for match in _RUN.finditer(text):
        run, start = match[0], match.start()
        if len(run) < 8:
            continue
        found.append((start, run))
        for parts in ("[ ]", "[/]", "[ /]") if "/" in run else ("[ ]",) if " " in run else ():
            place = start
            for piece in re.split(parts, run):
                if 8 <= len(piece) < len(run):
                    found.append((place, piece))
                place += len(piece) + 1
    return found


def _grouped(text: str, pieces: list[tuple[int, str]]) -> Hit | None:
    """Find a card or a national number that its form gives away."""
    for start, piece in pieces:
        number = piece.translate(_SEPARATORS)
        # After a plus it is the rest of a telephone number (E.164), unless it is as long as today's cards.
        international = text[max(0, start - 2) : start].strip() == "+"
        if len(number) >= 12 and not (international and len(number) < 14):
            hit = _card(piece)
            if hit is not None:
                return hit
        if international and len(number) <= 15:
            continue
        for row in _SHAPES.get(piece.translate(_NINES), ()):
            if row.unless(number) and row.check(number):
                return Hit(Kind.NATIONAL, row.what)
    for match in _LETTERED.finditer(text):
        if match[0].islower() and _LOWER_HEX.fullmatch(match[0]):
            continue  # a short digest
        number = match[0].translate(_SEPARATORS).upper()
        for row, pattern in _PATTERNS.items():  # all of them, as one can have the look of two countries
            if pattern.fullmatch(match[0]) and row.unless(number) and row.check(number):
                return Hit(Kind.NATIONAL, row.what)
    return None


def _called(text: str, *, telephones: bool) -> Hit | None:
    """Find a number that the word in front gives away."""
    if text.isascii() and _ENDS.isdisjoint(map(str.lower, _IN_FRONT.findall(text))):
        return None
    for match in _ANNOUNCED.finditer(text):
        word, value = re.sub(r"[ _-]+", " ", match[1].lower()), match[2].upper()
        groups = re.split("[ ./-]", value)[:20]
        numbers = ["".join(groups[:count]) for count in range(1, len(groups) + 1)]
        for number in numbers:
            if word in _CARD_WORDS:
                hit = _network(number, rare=True)
                if hit is not None:
                    return hit
            for row in _WORDS.get(word, ()):
                if row.check(number):
                    return Hit(Kind.NATIONAL, row.what)
        long_enough = any(number.isdigit() and 7 <= len(number) <= 15 for number in numbers)
        if telephones and long_enough and word in _TELEPHONE_WORDS and not _DATED.match(value):
            return _TELEPHONE_HIT
    return None


def _telephone(text: str, pieces: list[tuple[int, str]]) -> Hit | None:
    if "+" in text and _INTERNATIONAL.search(text):
        return _TELEPHONE_HIT
    if "(" in text and _AREA_IN_BRACKETS.search(text):
        return _TELEPHONE_HIT
    for start, piece in pieces:
        if piece.isdigit():
            continue
        if _NATIONAL_FORM.fullmatch(piece):
            return _TELEPHONE_HIT
        if _LOCAL_FORM.fullmatch(piece) and _stands_alone(text, start, start + len(piece)):
            return _TELEPHONE_HIT
    return None


def _look(text: str, *, everything: bool) -> Hit | None:
    """Look at the text, and at what it means in the query of an address: ann%40example.com, also encoded twice."""
    for _ in range(3):
        if _PLAIN(text):
            return None
        if everything and "@" in text and _EMAIL.search(text):
            return _EMAIL_HIT
        pieces = _pieces(text)
        hit = _called(text, telephones=everything) or _grouped(text, pieces)
        if hit is None and everything:
            hit = _telephone(text, pieces)
        if hit is not None or "%" not in text:
            return hit
        text = _fold(unquote(text))
    return None


def find(text: str) -> Hit | None:
    """Say what in a clear string would identify somebody, or None. Raises nothing.

    E-mail addresses by form (RFC 5322, with RFC 6531's characters); telephone numbers in the forms of E.164, the North
    American plan and national plans with a trunk zero; payment cards by issuer prefix, length and check digit
    (ISO/IEC 7812-1); national numbers by form, date and check digit, each by its issuer's rule. The first one found is
    returned, in no promised order. A string without `@` or `%` and with fewer than six digits is read once and let go.
    """
    if not text.isascii():
        text = _fold(text)
    if _WORTH(text) is None:
        return None
    return _look(_fold(text), everything=True)


def forbidden_number(text: str) -> Hit | None:
    """Say which payment card or national number a personal value holds, or None. Raises nothing.

    The same numbers as in `find`, and valid ones only, where a check digit exists. What follows a plus is a telephone
    number and never taken for a national one; without a plus a few forms are both (docs/reference/clear-text.md).
    """
    if not text.isascii():
        text = _fold(text)
    if _WORTH_AS_NUMBER(text) is None:
        return None
    return _look(_fold(text), everything=False)
