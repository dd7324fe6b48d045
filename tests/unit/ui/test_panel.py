from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tools.domain import Option, Plan, note
from tools.launch.files import Check
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.units import gib
from ui.downloads import Download, Offered
from ui.example import example_plan
from ui.files import FilesView
from ui.panel import plan_panel

HOSTILE = "</td><script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B@bf16"], gpu=["RTX PRO 6000"]))


def words(root: ElementTree.Element) -> str:
    return " ".join("".join(root.itertext()).split())


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_panel_shows_verdict_options_flags_and_sources(plan: Plan, language: str) -> None:
    root = ElementTree.fromstring(plan_panel(plan, language=language))
    shown = words(root)
    assert gib(plan.as_asked.deficit_bytes) in shown
    picks = [node.get("data-rf-option") for node in root.iter("button") if node.get("data-rf-option")]
    assert picks == ["as_asked", *(option.id for option in plan.options)]
    pressed = [n.get("data-rf-option") for n in root.iter("button") if n.get("aria-pressed") == "true"]
    assert pressed == [plan.recommended]
    commands = [node.get("data-rf-copy") or "" for node in root.iter("button") if node.get("data-rf-copy")]
    assert len(commands) == len(plan.placement().instances)
    assert all(command.startswith("vllm serve ") for command in commands)
    assert "{" not in shown
    assert (re.search("[а-я]", shown) is not None) == (language == "ru")


def test_every_option_can_be_shown(plan: Plan) -> None:
    for option in ["as_asked", *(one.id for one in plan.options)]:
        shown = plan_panel(plan, language="en", option=option)
        root = ElementTree.fromstring(shown)
        placement = plan.placement(option)
        assert all(one.deployment.checkpoint.repo in "".join(root.itertext()) for one in placement.instances)


def test_hostile_words_stay_text(plan: Plan) -> None:
    option = plan.options[0]
    evil = Option(HOSTILE, option.kind, note("errors.bad_size", value=HOSTILE), option.placement)
    evil_file = Download(HOSTILE, "/gradio_api/file=/x", 1)
    markup = plan_panel(
        replace(plan, options=(evil,), recommended=HOSTILE),
        language="en",
        files=FilesView(offered=Offered((evil_file,), evil_file, checks=(Check(HOSTILE, False, HOSTILE),))),
        caption=HOSTILE,
    )
    root = ElementTree.fromstring(markup)
    assert not list(root.iter("script"))
    assert "<script" not in markup


def test_the_example_is_the_founding_question() -> None:
    plan = example_plan()
    assert plan is not None
    assert len(plan.request.instances) == 2
    assert plan.verdict == "fits_with_changes"
