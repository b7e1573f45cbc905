"""What came back, however much of it there is, and what is told ahead of the clock."""

from __future__ import annotations

from conftest import accept, event

WW = {"controller": "whereverworks", "subject": "A"}
DAY = "2026-03-02"


def bounced(time, personal=None):
    return event("message.bounced", {"channel": "email", "permanent": True}, personal, time=time, **WW)


def test_a_bounce_told_ahead_is_not_lost_behind_a_later_one_that_a_yes_undoes(memory, clock):
    clock.set(f"{DAY}T10:05:00Z")
    accept(memory, event("subject.registered", None, {"email": "a@example.com"}, time=clock.text, **WW))
    accept(memory, bounced(f"{DAY}T10:30:00Z"))
    clock.set(f"{DAY}T10:06:00Z")
    accept(memory, bounced(clock.text))
    clock.set(f"{DAY}T10:07:00Z")
    yes = {"purpose": "newsletter", "list": None, "basis": "express"}
    accept(memory, event("consent.granted", yes, time=clock.text, **WW))
    asked = {**WW, "action": "contact", "purpose": "newsletter", "channel": "email"}
    assert memory.decide(asked).outcome == "deny"


def test_each_bounce_and_notice_is_looked_at_once_however_many_there_are(memory, monkeypatch):
    from consent_ledger.projections.read import bounces

    looks = [0]
    stops = bounces._Post.stops

    def counted(post, channel):
        looks[0] += 1
        return stops(post, channel)

    monkeypatch.setattr(bounces._Post, "stops", counted)
    asked = {**WW, "action": "contact", "purpose": "newsletter", "channel": "email"}

    def looked(times):
        for number in range(times):
            accept(
                memory,
                bounced("2026-01-03T00:00:00Z", {"email": f"a{number}@example.com"}),
                event("policy.notice.sent", {"version": "1", "channel": "email"}, **WW),
            )
        looks[0] = 0
        memory.decide(asked)
        return looks[0]

    accept(memory, event("subject.registered", None, {"email": "a0@example.com"}, **WW))
    few = looked(10)
    assert looked(20) <= 4 * few
