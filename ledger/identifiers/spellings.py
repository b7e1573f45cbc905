"""One form for all spellings of a name or an address. Pure, and linear in what is given.

These forms are part of the stored format: names and addresses are found by keyed hashes of them. Those of stores before
format 4 are in `ledger.intake.suppression` and are still looked up.

    name        Unicode NFC; an e-mail address (`mailto:` or bare) is that address
    list        NFC, no case
    email       domain by UTS #46, non-transitional, as A-labels of IDNA 2008; local part in NFC and lower case
    telephone   E.164 where the number or the pack names the country (`+16505550199`), else the digits that were given
    text        letters and digits, no case
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final, Literal
from urllib.parse import unquote

import idna

from consent_ledger.ledger.identifiers.marks import normalised

MOST: Final = 64  # addresses of one field
TEXT_CHARACTERS: Final = 2_000  # of a postal address, by which it is compared
LEAST_DIGITS: Final = 6  # less is no number of anybody's
_MOST_DIGITS: Final = 15  # of a number with its country (E.164)
_DOMAIN_CHARACTERS: Final = 255  # a longer one is no domain
_JOINERS: Final = "\u200c\u200d"  # invisible, and part of words
_WORD: Final = r"""[^\s<>(),:;@?"]"""
# A quoted local part may hold anything: other addresses, commas, a quote with a stroke before it. RFC 5321 gives it 64
# characters; with a limit nothing is looked at more often than that.
_IN_QUOTES: Final = r'"(?:\\[^\r\n]|[^"\\\r\n]){1,64}+"'
_BEHIND: Final = (
    r"""\s{0,4}@\s{0,4}(\[[^\s\[\]<>@"]{1,64}+\]|[^\s<>(),:;@?'"\[\]]++)"""  # a domain, or an address literal
)
_QUOTED: Final = re.compile(_IN_QUOTES + _BEHIND)
# Each starts where no word goes on: nothing is looked at twice.
_ADDRESS: Final = re.compile(rf"(?:{_IN_QUOTES}|(?<!{_WORD}){_WORD}++){_BEHIND}")
_PLAINEST: Final = re.compile(r"[A-Za-z0-9._%+-]++@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++")  # nearly all there are
_BRACKETED: Final = re.compile(r"<([^<>]*+)>")
_COMMENT: Final = re.compile(r"\([^()]*+\)")
_PLAIN: Final = re.compile(r"[^\s<>(),:;@?\"\[\]\\]+")
_MAILTO: Final = re.compile(r"\s*mailto:", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"[,;\n\r]")
_ESCAPED: Final = re.compile(r"\\(.)")
_NO_WORD: Final = re.compile(r"[\W_]+")
# country codes of one and two digits (ITU E.164); all others have three
_SHORT: Final = (
    *(1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86),
    *(*range(90, 96), 98),
)
COUNTRIES: Final = frozenset(str(code) for code in _SHORT)
_ZERO_STAYS: Final = frozenset(("39", "378", "379", "225", "229", "241", "242"))  # part of the number there
_TRUNK: Final = {"7": "8", "36": "06"}  # what is dialled before a number inside a country, where that is no zero
_ABROAD: Final = {
    "1": "011",
    "7": "810",
    "61": "0011",
    "81": "010",
    "234": "009",
    **dict.fromkeys(("254", "255", "256"), "000"),
}  # and before another country's, where that is no 00
_HOME_DIGITS: Final = 11  # of a country's number with what is dialled before it: what has more is another country's
_LONG_AT_HOME: Final = frozenset(("43", "49", "55"))  # numbers of eleven digits can begin like the country's code there
_NUMBERS: Final = re.compile(r"[,;|&#\n\r]|[^\W\d_]+|(?=\(\+)|(?<!\()(?=\+)")
_NO_DIGIT: Final = re.compile(r"\D+")


# -- text --------------------------------------------------------------------------------------------------------------


def composed(text: str, form: Literal["NFC", "NFKC"] = "NFC") -> str:
    """Text in a Unicode normal form, without marks beyond thirty in a row, which no language has."""
    return text if text.isascii() else normalised(form, text)


def list_name(text: str) -> str:
    """The form in which names of lists are compared."""
    return text.lower() if text.isascii() else composed(composed(text).casefold())


def visible(text: str) -> str:
    """Text without what nobody sees and what is part of no word: marks of byte order and direction, soft hyphens."""
    if text.isascii():
        return text
    return "".join(char for char in text if unicodedata.category(char) != "Cf" or char in _JOINERS)


# -- names -------------------------------------------------------------------------------------------------------------


def name_form(name: str) -> str:
    """The form in which names of persons are compared.

    `mailto:Ann@Example.com`, `Ann <ann@example.com>` and `ann@example.com.` are `ann@example.com`; whatever is no
    address alone, such as `crm:ann@example.com`, is what it is, in NFC.
    """
    if "@" not in name and "%40" not in name:
        return composed(name)
    text = visible(composed(name)).strip()
    if (bracketed := _BRACKETED.search(text)) and text.endswith(">") and "@" not in text[: bracketed.start()]:
        text = bracketed[1].strip()
    found = _ADDRESS.fullmatch(_without_scheme(text.strip("'")))
    address = _address(found) if found else ""
    return address if _is_whole(address) else composed(name)


def name_forms(name: str) -> list[str]:
    """The e-mail addresses that a name is, or has in it."""
    if "@" not in name:
        return []
    return [form for form in forms("email", name) if _is_whole(form)]


def _is_whole(address: str) -> bool:
    """Whether the domain of an address is one of the Internet's, or an address literal."""
    domain = address.rpartition("@")[2]
    return "." in domain or domain.startswith("[")


# -- addresses ---------------------------------------------------------------------------------------------------------


def forms(kind: str, value: str, country: str | None = None) -> list[str]:
    """The forms of all addresses in a field, at most MOST + 1 of them; none for what is no address.

    `kind`: `email`, `telephone` or `text`. `country`: the calling code of numbers that name none.
    """
    match kind:
        case "email":
            if _PLAINEST.fullmatch(value):
                return [value.lower()]
            return _emails(visible(composed(value)))
        case "telephone":
            return _telephones(composed(value), country)
        case _:
            text = visible(value[:TEXT_CHARACTERS])
            text = composed(composed(text, "NFKC").casefold(), "NFKC")
            text = _NO_WORD.sub(" ", text)[:TEXT_CHARACTERS].strip()
            return [text] if text else []


def _emails(text: str) -> list[str]:
    if "@" not in text:
        return []
    found: dict[str, None] = {}
    if '"' in text:
        for match in _QUOTED.finditer(text):
            form = _address(match)
            if form:
                found[form] = None
            if len(found) > MOST:
                return list(found)
        text = _QUOTED.sub(",", text)
    for piece in _BETWEEN.split(_COMMENT.sub("", text)):
        if "@" not in piece:
            continue
        bracketed = [inner for inner in _BRACKETED.findall(piece) if "@" in inner]
        for part in bracketed or [piece]:
            for match in _ADDRESS.finditer(_without_scheme(part)):
                form = _address(match)
                if form:
                    found[form] = None
                if len(found) > MOST:
                    return list(found)
    return list(found)


def _without_scheme(text: str) -> str:
    """What is behind `mailto:`, without what is to be written in the message."""
    scheme = _MAILTO.match(text)
    return text if scheme is None else composed(unquote(text[scheme.end() :].partition("?")[0]))


def _address(found: re.Match[str]) -> str:
    """The form of one address."""
    local = found[0].rpartition("@")[0].strip()
    if local.startswith('"') and local.endswith('"'):
        local = _unquoted(local[1:-1])
    local = composed(composed(local.strip("'")).lower())
    domain = _literal(found[1][1:-1]) if found[1].startswith("[") else _domain(found[1].strip("."))
    return f"{local}@{domain}" if local.strip('"') and domain else ""


def _unquoted(text: str) -> str:
    """What stands in quotes: without them where it needs none, else with no more strokes than it needs."""
    plain = _ESCAPED.sub(r"\1", text)
    return plain if _PLAIN.fullmatch(plain) else '"' + plain.replace("\\", r"\\").replace('"', r"\"") + '"'


def _literal(text: str) -> str:
    """The domain `[192.0.2.1]`, or `[ipv6:2001:db8::1]` however that is written (RFC 5321, section 4.1.3)."""
    kind, colon, number = text.lower().partition(":")
    if colon and kind == "ipv6":
        try:
            return f"[ipv6:{ipaddress.IPv6Address(number)}]"
        except ValueError:
            pass  # a literal of nobody's
    return f"[{text.lower()}]"


def _domain(text: str) -> str:
    if text.isascii():
        return text.lower()
    return text if len(text) > _DOMAIN_CHARACTERS else _labels(text)


def _labels(domain: str) -> str:
    """A domain as A-labels; what IDNA 2008 has no label for is lower case in Punycode, as others write it."""
    try:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        mapped = composed(composed(domain).lower())
    return ".".join(_label(label) for label in mapped.strip(".").split("."))


def _label(label: str) -> str:
    try:
        return idna.alabel(label).decode()
    except idna.IDNAError:
        return label.lower() if label.isascii() else "xn--" + label.encode("punycode").decode().lower()


def _telephones(text: str, country: str | None) -> list[str]:
    if not text.isascii():
        text = "".join(str(int(char)) if char.isdecimal() else "+" if char == "\uff0b" else char for char in text)
    found: dict[str, None] = {}
    if len(_NO_DIGIT.sub("", text)) < LEAST_DIGITS:
        return []
    for piece in _NUMBERS.split(text):
        for one in _apart(piece) if len(piece) >= LEAST_DIGITS else ():
            opened = one.lstrip(" (")
            digits = len(_NO_DIGIT.sub("", one))
            if found and not opened.startswith(("+", "0")) and digits <= LEAST_DIGITS:
                continue  # an extension
            form = _number(opened, country)
            if form:
                found[form] = None
            if len(found) > MOST:
                return list(found)
    return list(found)


def _apart(piece: str) -> list[str]:
    """Numbers with a stroke between them: what is dialled before a number shows where the next one begins."""
    first, *others = piece.split("/")
    found = [[first]]
    for part in others:
        if part.lstrip(" (").startswith(("0", "+")):
            found.append([])
        found[-1].append(part)
    return ["/".join(parts) for parts in found]


def _number(text: str, country: str | None) -> str:
    """The form of one number, which begins with `+` or a digit."""
    digits = _NO_DIGIT.sub("", text)
    abroad = text.startswith("+")
    if not abroad and (dialled := _abroad(digits, country)):
        abroad, digits = True, digits[len(dialled) :]
    if abroad:
        code = digits[: next((length for length in (1, 2) if digits[:length] in COUNTRIES), 3)]
        if code.startswith("0"):
            return ""
        rest = digits[len(code) :] if code in _ZERO_STAYS else digits[len(code) :].removeprefix("0")
        if code == "52" and len(rest) == _HOME_DIGITS:
            rest = rest.removeprefix("1")  # what was dialled before mobile numbers of Mexico until 2019
    elif country is not None:
        code, rest = country, _inside(digits, country)
    else:
        digits = digits.lstrip("0")
        return digits if len(digits) >= LEAST_DIGITS else ""
    least = len(rest) >= LEAST_DIGITS - 1 and rest.strip("0")
    return f"+{code}{rest}" if least and len(code) + len(rest) <= _MOST_DIGITS else digits if least else ""


def _abroad(digits: str, country: str | None) -> str:
    """What is dialled before the code of another country; empty where nothing is."""
    dialled = _ABROAD.get(country or "")
    if dialled is not None and digits.startswith(dialled) and len(digits) > _HOME_DIGITS:
        return dialled
    return "00" if digits.startswith("00") else ""


def _inside(digits: str, country: str) -> str:
    """A number of a country without what is dialled before it there, or its code, which gateways write with no plus."""
    if digits.startswith(country) and len(digits) >= _HOME_DIGITS + (country in _LONG_AT_HOME):
        rest = digits[len(country) :]
        return rest if country in _ZERO_STAYS else rest.removeprefix("0")
    if country in ("1", "7"):
        trunk = _TRUNK.get(country, country)
        return digits[1:] if len(digits) == 11 and digits[0] == trunk else digits
    return digits if country in _ZERO_STAYS else digits.removeprefix(_TRUNK.get(country, "0"))
