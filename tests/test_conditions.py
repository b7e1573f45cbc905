"""Conditions where the shop's rows do not have them: rows changed a little, and what the answers say then."""

from __future__ import annotations

from pathlib import Path

import pytest

from consent_ledger.consumers.scenarios import run_scenario

SHOP = (Path(__file__).parent / "packs" / "shop.toml").read_text()
CARRIERS = """class = ["carrier", "processor"]
needs = [{ need = "named-service" }, { need = "recipient-agreement", kind = "processing" }]"""
KEEP = SHOP[SHOP.index("[[clause.keep]]") : SHOP.index("[[clause.forbid]]", SHOP.index("[[clause.keep]]"))]
AFTER = "2026-02-01T00:00:00Z"


def told(type_name, day="01-01", subject="ann", **data):
    who = {} if type_name.startswith("recipient.") else {"subject": subject}
    return {"type": type_name, **who, "time": f"2026-{day}T00:00:00Z", "data": data}


REGISTERED = told("subject.registered", kind="customer")
POST = told("recipient.registered", recipient="post", **{"class": "carrier", "service": "delivery"})
TO_POST = {"action": "disclose", "recipient": "post", "purpose": "delivery", "categories": ["name"]}
TO_ALL = {"action": "disclose", "purpose": "delivery", "categories": ["name"]}


def changed(old, new):
    """The shop's pack with something else in one place."""
    assert SHOP.count(old) == 1
    return SHOP.replace(old, new)


def problems(pack, given, then):
    """What is wrong when that is asked, of (form, body, what is expected)."""
    steps = [{form: {"subject": "ann", "at": AFTER, **body}, "expect": expect} for form, body, expect in then]
    scenario = {"id": "SHOP/changed", "controller": "lanternshop", "given": given, "then": steps}
    return run_scenario(scenario, pack.encode()).problems


@pytest.mark.parametrize(
    ("need", "says"),
    [
        ('{ need = "named-service" }', "no service was named for this recipient"),
        ('{ need = "registered-company" }', "not the person's own company"),
        ('{ need = "recipient-agreement", kind = "processing" }', "no processing agreement in force"),
        ('{ need = "transfer-notice" }', "neither a posting nor a message on record"),
    ],
)
def test_what_needs_a_recipient_or_a_transfer_is_not_met_where_the_question_names_none(need, says):
    pack = changed(CARRIERS, f"needs = [{need}]")
    given = [
        told("subject.registered", subject="acme", kind="customer"),
        told("subject.registered", kind="employee", of="acme"),
        POST,
    ]
    denied = {"outcome": "deny", "clauses": ["SHOP-PROCESS-1"], "reason": f"Denied by SHOP-PROCESS-1: {says}."}
    assert problems(pack, given, [("ask", TO_ALL, denied)]) == []


@pytest.mark.parametrize("customer", [None, "acme"])
def test_an_employee_has_the_agreement_of_the_customer_if_there_is_one(customer):
    pack = changed(CARRIERS, 'needs = [{ need = "service-agreement" }]')
    hers = told("subject.registered", kind="employee", **({"of": customer} if customer else {}))
    given = [
        told("subject.registered", subject="acme", kind="customer"),
        told("agreement.started", subject="acme", service="x"),
        hers,
    ]
    expect = {"outcome": "permit" if customer else "deny"}
    assert problems(pack, given, [("ask", TO_ALL, expect)]) == []


def test_an_act_is_judged_by_the_deactivations_of_then():
    pack = changed(CARRIERS, 'class = ["carrier", "processor"]\nneeds = [{ need = "active-account", until = "ever" }]')
    made = {"recipient": "post", "purpose": "delivery", "categories": ["name"]}
    given = [
        REGISTERED,
        POST,
        told("disclosure.made", "01-02", **made),
        told("account.deactivated", "01-03"),
        told("disclosure.made", "01-04", **made),
    ]
    found = {"clause": "SHOP-PROCESS-1", "time": "2026-01-04T00:00:00Z", "reason": "deactivated on 2026-01-03"}
    answered = {"outcome": "deny", "reason": "Denied by SHOP-PROCESS-1: deactivated on 2026-01-03."}
    then = [
        ("findings", {}, {"exactly": [found]}),
        ("ask", TO_POST, answered),
        ("ask", {**TO_POST, "at": "2026-01-02T00:00:00Z"}, answered),
    ]
    assert problems(pack, given, then) == []


def test_the_time_to_ask_again_is_said_where_nothing_is_kept():
    question = {"action": "request", "purpose": "newsletter"}
    given = [REGISTERED, told("consent.requested", "01-15", purpose="newsletter")]
    then = [("ask", question, {"outcome": "deny", "changes_at": "2027-01-15T00:00:00Z"})]
    assert problems(changed(KEEP, ""), given, then) == []


def test_ages_that_grow_are_counted_where_nothing_is_kept():
    net = told("recipient.registered", recipient="net", **{"class": "ad-network"})
    given = [net, told("subject.age.learned", "01-02", age=12)]
    sold = {"action": "disclose", "recipient": "net", "purpose": "sale", "categories": ["email"]}
    then = [("ask", sold, {"outcome": "deny", "changes_at": "2030-01-02T00:00:00Z"})]
    assert problems(changed(KEEP, ""), given, then) == []
    under = [net, told("subject.age.learned", "01-02", under=13)]  # which never grows
    assert problems(changed(KEEP, ""), under, [("ask", sold, {"outcome": "deny", "changes_at": None})]) == []


def test_what_is_kept_goes_where_ages_stay():
    pack = changed("grow = true", "grow = false")
    given = [
        REGISTERED,
        told("information.collected", "01-02", categories=["transaction"], origin="subject", optout_offered=True),
        told("deletion.completed", "01-10", kept=["transaction"]),
        told("service.used", "01-20", service="order"),
    ]
    question = {"action": "use", "purpose": "accounting", "categories": ["transaction"]}
    assert problems(pack, given, [("ask", question, {"outcome": "permit", "changes_at": "2036-01-10T00:00:00Z"})]) == []


@pytest.mark.parametrize(
    ("kept", "purpose", "category", "until"),
    [
        (["transaction", "name"], "accounting", "transaction", "2036-01-10T00:00:00Z"),
        (["transaction", "name"], "payment", "name", "2027-01-10T00:00:00Z"),
        (["transaction", "name"], "payment", "transaction", None),
        (["transaction", "name"], "accounting", "name", None),
        (["name"], "accounting", "transaction", None),
        ([], "accounting", "transaction", None),
    ],
)
def test_each_category_is_kept_for_its_own_purpose_and_time(kept, purpose, category, until):
    other = '[[clause.keep]]\ncategories = ["name"]\npurpose = ["payment"]\nfor_months = 12\n'
    given = [
        REGISTERED,
        told("information.collected", "01-02", categories=["transaction", "name"], origin="subject"),
        told("deletion.completed", "01-10", kept=kept),
        told("service.used", "01-20", service="order"),
    ]
    expect = {"outcome": "permit" if until else "deny", "changes_at": until}
    question = {"action": "use", "purpose": purpose, "categories": [category]}
    assert problems(changed(KEEP, KEEP + other), given, [("ask", question, expect)]) == []
