"""Models to take: who is eligible, by which rule, and that the planner itself places each of them as is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from tools.domain import Gpu
from tools.picking.eligible import DAYS, active_of, dense_equal, eligible, strength
from tools.picking.picks import FIRST, LEAST, MOST, READABLE, Use, engine_for, picks
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue

CARDS = ("RTX 4070", "RTX 3090", "RTX 5090", "RTX PRO 6000 Blackwell", "M4 Max 128GB", "RX 7900 XTX")


def card(name: str) -> Gpu:
    """A card of the catalogue."""
    return GpuCatalogue.load().find(name).gpu


def fits(gpus: list[Gpu], model: str, precision: str, context: int, users: int) -> bool:
    """Whether the planner places a model as asked."""
    asked = resolve_arguments(
        [f"{model}@{precision}"], gpu=[gpus[0].name], context=context, users=users, engine=engine_for(gpus)
    )
    plan = make_plan(replace(asked, rig=replace(asked.rig, gpus=tuple(gpus))))
    return plan.as_asked.verdict == "fits"


def test_strength_is_the_root_halved_a_year() -> None:
    assert strength(36_000_000_000, 4_000_000_000, 0) == pytest.approx(12)
    assert strength(36_000_000_000, 4_000_000_000, 365) == pytest.approx(6)
    assert strength(8_000_000_000, 8_000_000_000, 0) == pytest.approx(8)


def test_who_is_eligible_is_recent_computable_and_for_talk() -> None:
    newest = date.fromisoformat(ModelCatalogue.load().date)
    found = eligible()
    assert len(found) >= 20
    assert [one.strength for one in found] == sorted((one.strength for one in found), reverse=True)
    for one in found:
        assert one.spec.layers
        assert not one.spec.pools
        assert one.spec.release_date
        assert (newest - date.fromisoformat(one.spec.release_date)).days <= DAYS
        name = one.spec.name.lower()
        assert not any(word in name for word in ("-base", "embedding", "reranker", "-ocr", "guard"))
    assert any(one.for_code for one in found)


def test_active_parameters_are_counted_from_the_structure_where_none_are_published() -> None:
    published = [one.spec for one in eligible() if one.spec.params_active]
    assert published
    for spec in published:
        counted = active_of(replace(spec, params_active=None))
        assert counted == pytest.approx(active_of(spec), rel=0.03), spec.name


def test_a_mixture_equals_a_smaller_dense_model() -> None:
    catalogue = ModelCatalogue.load()
    mixture, dense = (catalogue.find(name).spec for name in ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-14B"))
    assert mixture.params_total > dense.params_total
    assert dense_equal(mixture) < dense_equal(dense)


@pytest.mark.parametrize("name", CARDS)
def test_every_pick_fits_as_the_planner_has_it(name: str) -> None:
    gpu = card(name)
    found = picks([gpu], context=8192, users=2)
    assert LEAST <= len(found) <= MOST
    assert len({pick.model for pick in found}) == len(found)
    assert found[0].reasons[0] == "strongest"
    for pick in found:
        assert fits([gpu], pick.model, pick.precision, 8192, 2), pick
        assert fits([gpu], pick.model, pick.precision, pick.context_tokens, 1), pick
        assert pick.decode_tokens_per_s is None or pick.decode_tokens_per_s.value >= READABLE


def test_the_reasons_are_true() -> None:
    found = picks([card("RTX 3090")], context=8192, users=1)
    by_reason = {reason: pick for pick in found for reason in pick.reasons}
    speeds = {pick.model: pick.decode_tokens_per_s.value for pick in found if pick.decode_tokens_per_s}
    assert speeds[by_reason["fastest"].model] == max(speeds.values())
    assert by_reason["long_context"].context_tokens == max(pick.context_tokens for pick in found)
    assert by_reason["precise"].bits >= 8
    assert by_reason["strongest"].worth == max(pick.worth for pick in found)


@pytest.mark.parametrize("use", FIRST)
def test_the_pick_for_the_use_comes_first(use: Use) -> None:
    assert FIRST[use] in picks([card("RTX 5090")], context=8192, users=1, use=use)[0].reasons


def test_more_users_never_make_the_pick_stronger() -> None:
    gpu = card("RTX 3090")
    one, many = (picks([gpu], context=16_384, users=users)[0].worth for users in (1, 16))
    assert many <= one


def test_two_cards_hold_at_least_as_strong_a_model_as_one() -> None:
    gpu = card("RTX 3090")
    assert picks([gpu] * 2, context=8192, users=1)[0].worth >= picks([gpu], context=8192, users=1)[0].worth


def test_nothing_is_picked_where_nothing_fits() -> None:
    gpu = replace(card("RTX 3090"), memory_bytes=2**28, cuda_total_bytes=2**28)
    assert picks([gpu], context=8192, users=1) == ()


@pytest.mark.parametrize(("name", "engine"), [("RTX 4090", "vllm"), ("M4 Max 128GB", "llama.cpp"), ("L4", "vllm")])
def test_the_engine_is_one_that_runs_there(name: str, engine: str) -> None:
    assert engine_for([card(name)]) == engine
    assert engine_for([card(name)], "sglang") == "sglang"
