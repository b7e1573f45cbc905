"""Names of personal fields. They stay in the log for ever, as the commitments do, so they are words only.

A name is known if it stands here, if it is a category of the pack (`cookie_id` for `cookie-id`), or if the pack has it
under `[personal_fields]`. Capitals, and dashes for underscores, make no other name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# who somebody is
_NAMES: Final = (
    *("name", "full_name", "first_name", "given_name", "middle_name", "last_name", "family_name", "maiden_name"),
    *("nickname", "display_name", "user_name", "salutation", "title", "signature", "other"),
)
# how to reach somebody
_ADDRESSES: Final = (
    *("email", "e_mail", "telephone", "phone", "mobile", "fax", "address", "postal_address", "billing_address"),
    *("delivery_address", "street", "house", "town", "city", "postal_code", "region", "country"),
    *("friend_email", "friend_name", "guardian_name", "guardian_email", "contact_name", "contact_email"),
)
# what somebody is
_ABOUT: Final = (
    *("birth_date", "birth_place", "age", "gender", "language", "nationality", "company", "department", "job_title"),
    *("customer_number", "member_number", "employee_number", "account_number", "order_number", "login", "photo"),
)
# with what, and from where
_DEVICES: Final = ("form_ip", "ip_address", "user_agent", "browser", "operating_system", "cookie_id", "device_id")
# numbers that a pack may forbid
_NUMBERS: Final = (
    *("card", "card_number", "payment_card", "iban", "bank_account", "ssn", "social_security_number", "national_id"),
    *("passport_number", "tax_number"),
)
# somebody's own words, and where the proof of them is
_WORDS: Final = ("text", "words", "note", "comment", "remark", "message", "question", "answer", "reason", "proof")

DEFAULT_NAMES: Final = frozenset((*_NAMES, *_ADDRESSES, *_ABOUT, *_DEVICES, *_NUMBERS, *_WORDS))


def spelt(name: str) -> str:
    """The one spelling of a name: `Friend-Email` is `friend_email`."""
    return name.lower().replace("-", "_")


def known_names(categories: Iterable[str], declared: Iterable[str]) -> frozenset[str]:
    """All names that a pack with these categories and declared fields knows, in their one spelling."""
    return DEFAULT_NAMES | {spelt(one) for one in (*categories, *declared)}
