"""Errors of all tools by one arithmetic, and the page that tells them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from peers import report, scoring
from peers.adapters import ADAPTERS, Answer
from peers.rows import GIB, Row

WEIGHTS, TOKEN, POOL, CONCURRENCY = scoring.QUANTITIES
ROW = Row(
    id="A1",
    model="example/dense-8b",
    stated={"tp": 1, "max_concurrency_tokens": 1000},
    weights_gib=10.0,
    kv_bytes_per_token=1000.0,
    pool_gib=20.0,
    budget_gib=40.0,
    concurrency=21475.0,
    held_gib=20.0,
)


def figure(tool: str, row: str, predicted: float | None, measured: float = 100.0) -> scoring.Figure:
    return scoring.Figure(tool, WEIGHTS, row, measured, predicted, measured)


def test_a_peers_answer_is_scored_quantity_by_quantity():
    said = scoring.of_answer(ROW, Answer(weights=11 * GIB, pool=22 * GIB, sequence=1e6))
    found = {one.quantity: one for one in scoring.figures("peer", ROW, said)}
    assert found[WEIGHTS].error == pytest.approx(0.1)
    assert found[TOKEN].error == 0  # a sequence of 1,000 tokens takes 1e6 bytes
    assert found[POOL].error == pytest.approx(0.05)  # 2 GiB of a budget of 40
    assert found[CONCURRENCY].predicted == pytest.approx(20 * GIB / 1e6)


def test_what_a_peer_does_not_say_is_not_answered():
    said = scoring.of_answer(ROW, Answer(weights=10 * GIB))
    assert [one.predicted is None for one in scoring.figures("peer", ROW, said)] == [False, True, True, True]


def test_rigfits_lines_are_read_by_their_ids():
    own = {"weights_bytes_per_gpu": 5, "kv_bytes_per_token_per_gpu": 7, "kv_pool_bytes_per_gpu": {"low": 1, "value": 9}}
    said = scoring.of_estimates(ROW, {"A1": own, "A1#pool": {"max_concurrency": 2.5}})
    assert list(said.values()) == [5, 7, 9, 2.5]
    assert set(scoring.of_estimates(ROW, {}).values()) == {None}


def test_quantities_that_were_not_measured_are_not_asked():
    row = Row("A2", "m", {}, 10.0, None, None, None, None, None)
    assert [one.quantity for one in scoring.figures("peer", row, {})] == [WEIGHTS]


def test_unanswered_rows_are_misses_but_no_errors():
    found = scoring.score([figure("p", str(n), value) for n, value in enumerate([100, 100.5, 104, 150, None])])
    assert (found.asked, found.answered) == (5, 4)
    assert found.median == pytest.approx(0.0225)
    assert found.p90 == pytest.approx(0.5)
    assert (found.within_1, found.within_5, found.within_10) == (0.4, 0.6, 0.6)


def test_a_tool_that_answers_nothing_has_no_errors():
    found = scoring.score([figure("p", "1", None)])
    assert (found.answered, found.median, found.p90, found.within_10) == (0, None, None, 0)


def test_pairs_are_of_the_rows_that_both_answered():
    own = [figure("r", "1", 101), figure("r", "2", 100), figure("r", "3", None), figure("r", "4", 103)]
    peer = [figure("p", "1", 100), figure("p", "2", 100), figure("p", "3", 100), figure("p", "4", 120)]
    found = scoring.pair(own, peer)
    assert found is not None
    assert (found.rows, found.nearer, found.further) == (3, 1, 1)
    assert found.own_median == pytest.approx(0.01)
    assert scoring.pair(own, []) is None


def test_the_page_says_what_was_asked_and_answered():
    figures = [figure("Rigfit", "1", 101), figure("kvfit", "1", 120), figure("hf-mem", "1", None)]
    figures.append(figure("Rigfit", "2", None))
    run = report.Run("2026-01-02", figures, {"kvfit": "9.9"}, 2, frozenset("1"), ["example/unknown"], 12)
    page = report.page(run)
    assert "kvfit 9.9" in page
    assert "2026-01-02" in page
    assert "(example/unknown)" in page
    assert "| Rigfit | 1 | 1 | 1.00 % | 1.00 % | 100 % | 100 % | 100 % |" in page
    assert "| Rigfit, unserved rows too | 2 | 1 | 1.00 % | 1.00 % | 50 % | 50 % | 50 % |" in page
    assert "| kvfit | 1 | 1 | 20 % | 20 % | 0 % | 0 % | 0 % |" in page
    assert "| hf-mem | 1 | 0 | – | – | 0 % | 0 % | 0 % |" in page
    assert all(f"- **{tool}**: " in page for tool in ADAPTERS)
    assert all(len(line) <= 120 for line in page.splitlines())
