"""A sample of the fault table. `make faults` is all of it."""

from __future__ import annotations

import pytest
from faults import faults, missing, table, told
from faults_child import JOBS

RUNS = 24


def test_every_job_survives_a_call_that_fails_and_a_death():
    if reason := missing():
        pytest.skip(reason)
    results = faults(list(JOBS), wanted=RUNS)
    wrong = [told(one) for one in results if one.problems]
    assert not wrong, "\n".join([*wrong, table(results)])
    assert {one.how for one in results if one.reached} == {"error", "kill"}
    assert sum(one.reached for one in results) > RUNS / 2, table(results)
