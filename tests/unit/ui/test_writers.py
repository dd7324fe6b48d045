"""Who can answer on the page: those of the settings, and what ``rigfit serve`` runs on this machine now."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.processes import birth
from serving.runs import STOPPED, EngineRecord, RunRecord, Runs
from serving.wish import Wish
from tools.plan.planner import make_plan
from tools.plan.report import plan_json
from tools.plan.resolve import resolve_arguments
from tools.settings import GATEWAY_KEYS, Settings
from ui.writers import CONFIGURED, RULES, writers

HERE = "http://127.0.0.1:8000"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, network=False)


def run_of(*models: str, option: str = "as_asked", stages: tuple[str, ...] = (), **changes: Any) -> RunRecord:
    plan = make_plan(resolve_arguments(list(models), gpu=["RTX PRO 6000"]))
    instances = plan.placement(option).instances
    engines = tuple(
        EngineRecord(one.name, one.served_names, stage, port=8001 + number)
        for number, (one, stage) in enumerate(zip(instances, stages or ("ready",) * len(instances), strict=True))
    )
    born = birth(os.getpid())
    assert born
    made = RunRecord(8000, HERE, os.getpid(), born, 1.0, option, plan_json(plan, "en"), Wish(), engines)
    return replace(made, **changes)


def names(settings: Settings, language: str = "en") -> list[str]:
    return [one.name(language) for one in writers(settings)]


def test_without_anything_there_are_the_rules_alone(settings: Settings) -> None:
    [only] = writers(settings)
    assert (only.key, only.model, only.name("ru")) == (CONFIGURED, None, "Встроенные правила")


def test_a_configured_endpoint_comes_first_and_the_rules_can_be_chosen(settings: Settings) -> None:
    first, second = writers(replace(settings, llm_url="http://me:secret@10.0.0.5:9000/v1", llm_model="big"))
    assert (first.key, first.model, first.name("en")) == (CONFIGURED, None, "big at 10.0.0.5:9000")
    assert (second.key, second.model and second.model.url) == (RULES, "")
    assert names(replace(settings, llm_url="http://10.0.0.5:9000/v1"))[0] == "The model at 10.0.0.5:9000"


def test_a_running_model_is_offered_by_the_name_of_its_plan(settings: Settings) -> None:
    Runs(settings.data_dir).write(run_of("Qwen/Qwen3-14B", "Qwen/Qwen3-8B"))
    assert names(settings) == ["Built-in rules", "Qwen/Qwen3-14B on this machine", "Qwen/Qwen3-8B on this machine"]
    assert names(settings, "ru")[2] == "Qwen/Qwen3-8B на этой машине"
    served = writers(settings)[2].model
    assert served is not None
    assert (served.url, served.model, served.key_env) == (f"{HERE}/v1", "qwen3-8b", GATEWAY_KEYS)


def test_two_engines_of_one_model_are_told_apart(settings: Settings) -> None:
    Runs(settings.data_dir).write(run_of("2xQwen/Qwen3-8B"))
    assert names(settings)[1:] == ["qwen3-8b on this machine", "qwen3-8b-2 on this machine"]
    assert len({one.key for one in writers(settings)}) == 3


@pytest.mark.parametrize("stage", ["loading", "failed", "gave_up", "stopped"])
def test_what_is_not_ready_is_not_offered(settings: Settings, stage: str) -> None:
    Runs(settings.data_dir).write(run_of("Qwen/Qwen3-14B", "Qwen/Qwen3-8B", stages=("ready", stage)))
    assert len(writers(settings)) == 2


def test_a_run_that_has_ended_is_offered_no_more(settings: Settings) -> None:
    runs, run = Runs(settings.data_dir), run_of("Qwen/Qwen3-8B")
    runs.write(run)
    assert len(writers(settings)) == 2
    runs.end(run, STOPPED)
    assert len(writers(settings)) == 1
    runs.write(replace(run, born="another"))
    assert len(writers(settings)) == 1


@pytest.mark.parametrize("plan", [{}, {"options": 5}, {"options": [], "as_asked": {"footprints": [{}]}}])
def test_a_run_without_a_readable_plan_goes_by_its_served_name(settings: Settings, plan: Any) -> None:
    Runs(settings.data_dir).write(run_of("Qwen/Qwen3-8B", plan=plan))
    assert names(settings)[1] == "qwen3-8b on this machine"
