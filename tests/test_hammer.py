"""The short form of the hammer. `make hammer` is the long one."""

from __future__ import annotations

import os
import random

from hammer import hammer

SECONDS = 12  # of hammering; looking at everything afterwards takes as long again


def test_nothing_acknowledged_is_lost_or_contradicted():
    seed = os.environ.get("HAMMER_SEED") or str(random.randrange(10**6))
    site = hammer(seed, SECONDS)
    assert not site.failures.kinds, f"python tests/hammer.py --seed {seed}\n{site.report()}\n{site.failures.text()}"
    assert site.counts["kills"]
    assert site.counts["holds"]
    assert len(site.said.acked) > 100
    assert site.said.counts["questions"] > 20
