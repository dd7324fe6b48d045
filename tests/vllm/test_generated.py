"""The calculator against vLLM's own code on generated configs: parameters, caches, blocks, concurrency, refusals."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import oracle
from agreement import differences, theirs
from generated import cases
from reviewed import expected

CASES = list(cases())


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    return oracle.answers(CASES, "generated")


@pytest.mark.timeout(oracle.SECONDS + 60)
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_agrees_to_the_byte(case: dict[str, Any], answers: dict[str, dict[str, Any]]) -> None:
    found = differences(case, theirs(answers[case["id"]]))
    assert set(found) == expected(case["id"]), found


def test_no_two_cases_share_an_id():
    assert len({case["id"] for case in CASES}) == len(CASES)
