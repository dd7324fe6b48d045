from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.domain import GpuUse, Placement, Plan
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.units import gib
from ui.markup import tag, text_node
from ui.picture import gpu_parts, instance_names, letter, memory_picture, percentages


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B@bf16"], gpu=["RTX PRO 6000"], reserved="2GiB"))


def tree(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def bar_widths(markup: str) -> list[float]:
    return [float(width) for width in re.findall(r'class="rf-part[^"]*" style="width:([\d.]+)%"', markup)]


def test_parts_fill_the_card_in_order(plan: Plan) -> None:
    placement = plan.placement(next(option.id for option in plan.options if option.placement.verdict == "fits"))
    for gpu in placement.gpus:
        parts = gpu_parts(gpu, placement)
        assert sum(part.size_bytes for part in parts) == gpu.total_bytes
        order = [part.kind for part in parts]
        assert order[0] == "in_use"
        assert order[-2:] == ["overheads", "free"]
        for kind, instance in [(part.kind, part.instance) for part in parts if part.kind == "kv"]:
            weights = next(i for i, part in enumerate(parts) if part.kind == "weights" and part.instance == instance)
            assert parts[weights + 1].kind == kind


def test_free_is_what_the_plan_leaves_free(plan: Plan) -> None:
    for option in plan.options:
        for gpu in option.placement.gpus:
            free = [part.size_bytes for part in gpu_parts(gpu, option.placement) if part.kind == "free"]
            assert sum(free) == pytest.approx(max(0, gpu.free_bytes), abs=1 << 20), option.id


def test_an_overfull_card_shows_where_it_ends(plan: Plan) -> None:
    markup = memory_picture(plan, plan.as_asked, "en")
    gpu = plan.as_asked.gpus[0]
    drawn = sum(part.size_bytes for part in gpu_parts(gpu, plan.as_asked))
    assert drawn > gpu.total_bytes
    end = re.search(r'rf-card-end" style="left:([\d.]+)%"', markup)
    assert end is not None
    assert float(end[1]) == pytest.approx(100 * gpu.total_bytes / drawn, abs=0.001)
    assert gib(drawn - gpu.total_bytes) in markup


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_option_is_well_formed_and_spoken(plan: Plan, language: str) -> None:
    for option in ["as_asked", *(one.id for one in plan.options)]:
        placement = plan.placement(option)
        root = tree(memory_picture(plan, placement, language))
        bars = [node for node in root.iter() if node.get("role") == "img"]
        assert len(bars) == len(placement.gpus)
        for bar, gpu in zip(bars, placement.gpus, strict=True):
            assert gib(gpu.total_bytes) in (bar.get("aria-label") or "")
        tables = [node for node in root.iter("table") if node.get("class") == "rf-sr"]
        assert len(tables) == len(placement.gpus)


@given(st.lists(st.integers(1, 2**45), min_size=1, max_size=40))
def test_widths_sum_to_the_bar(sizes: list[int]) -> None:
    widths = percentages(sizes)
    assert sum(round(width * 10_000) for width in widths) == 1_000_000
    total = sum(sizes)
    assert all(abs(width - 100 * size / total) <= 0.0002 for width, size in zip(widths, sizes, strict=True))


@given(
    reserved=st.integers(0, 120 << 30),
    total=st.integers(1 << 30, 400 << 30),
    name=st.text(max_size=60),
    model=st.text(max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_any_card_and_any_name_is_drawn(plan: Plan, reserved: int, total: int, name: str, model: str) -> None:
    instance = plan.as_asked.instances[0]
    deployment = replace(instance.deployment, checkpoint=replace(instance.deployment.checkpoint, repo=model))
    used = instance.footprint.total_bytes
    gpu = GpuUse(0, name, total, reserved, used, total - reserved - used)
    placement = Placement("fits", 0, (replace(instance, deployment=deployment, served_names=(model, name)),), (gpu,))
    markup = memory_picture(plan, placement, "ru")
    tree(markup)
    tree(tag("div", instance_names(placement, "ru")))
    widths = bar_widths(markup)
    assert sum(round(width * 10_000) for width in widths) == 1_000_000


@pytest.mark.parametrize(
    "name", ['<img src=x onerror="alert(1)">', "</figure><script>x</script>", "a\x00b\ud800", "'\"&"]
)
def test_hostile_names_stay_text(plan: Plan, name: str) -> None:
    gpu = replace(plan.as_asked.gpus[0], name=name)
    markup = memory_picture(plan, replace(plan.as_asked, gpus=(gpu,)), "en")
    root = tree(markup)
    assert {node.tag for node in root.iter()} <= {
        *("figure", "div", "span", "p", "ul", "li", "b", "table", "caption", "tbody", "tr", "th", "td")
    }
    heading = next(node for node in root.iter("span") if node.get("class") == "rf-gpu-name")
    assert text_node(name) in ElementTree.tostring(heading, encoding="unicode").replace('"', "&quot;").replace(
        "'", "&#x27;"
    )


def test_letters_never_repeat() -> None:
    names = [letter(position) for position in range(200)]
    assert len(set(names)) == 200
    assert names[:2] == ["A", "B"]
