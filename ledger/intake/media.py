"""The data of an event in the ways that CloudEvents has for it: `data` or `data_base64`, of a type that is JSON."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, Final

from consent_ledger.ledger.errors import InvalidEvent

_WORD: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]"
# RFC 9110, 8.3.1: a type, then parameters. Possessive, so that a long run of blanks is read once.
_JSON: Final = re.compile(rf"{_WORD}++/(?:json|{_WORD}*\+json)(?=[ \t;]|$)", re.IGNORECASE)
_PARAMETER: Final = re.compile(rf'[ \t]*+;[ \t]*+(?:({_WORD}++)=({_WORD}++|"(?:[^"\\]|\\.)*+"))?')
_CHARSETS: Final = frozenset(("utf-8", "utf8", "us-ascii"))
_LONGEST: Final = 200


def require_json(media_type: object) -> None:
    """Raise InvalidEvent unless it is JSON in UTF-8: `application/json; charset=UTF-8`, `application/ld+json`."""
    if media_type == "application/json":
        return
    if not isinstance(media_type, str) or not _is_json(media_type):
        raise InvalidEvent("datacontenttype", "wants application/json, or another type of JSON, in UTF-8")


def _is_json(text: str) -> bool:
    found = _JSON.match(text) if len(text) <= _LONGEST else None
    if found is None:
        return False
    at = found.end()
    while (parameter := _PARAMETER.match(text, at)) is not None:
        name, value = parameter.groups()
        if name is not None and name.lower() == "charset" and value.strip('"').lower() not in _CHARSETS:
            return False
        at = parameter.end()
    return not text[at:].strip(" \t")


def told_data(body: dict[str, Any], parse: Callable[[bytes], Any]) -> Any:
    """What an event's `data` says, an empty object where there is none. Raises InvalidEvent naming the field.

    `data_base64` holds the same JSON as bytes: an event told either way is one and the same.
    """
    if "data_base64" not in body:
        return body.get("data", {})
    if "data" in body:
        raise InvalidEvent("data_base64", "stands beside data: send one of them")
    told = body["data_base64"]
    if not isinstance(told, str):
        raise InvalidEvent("data_base64", "wants text")
    try:
        raw = base64.b64decode(told, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise InvalidEvent("data_base64", "wants base64 (RFC 4648, section 4) of a JSON object") from None
    try:
        return parse(raw)
    except ValueError as error:
        raise InvalidEvent("data_base64", f"{error}: send the base64 of one JSON object, each member once") from None
