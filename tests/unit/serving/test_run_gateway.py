"""Which gateway follows from a plan and from what rigfit serve was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.run import compose, free_ports
from serving.run_gateway import KEY_VARIABLE
from serving.wish import Wish
from tools.errors import BadValue
from tools.launch.choices import Choices
from tools.launch.job import Job, prepare
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments

VLLM = Path("/opt/vllm/bin/vllm")


def job_of(*words: str, option: str | None = None, cpu: bool = False, **said: object) -> Job:
    plan = make_plan(resolve_arguments(words, **{"gpu": ["RTX PRO 6000"], **said}))  # pyright: ignore[reportArgumentType]
    (job,) = prepare(plan, option, "en", choices=Choices(cpu=cpu))
    return job


def test_engines_answer_by_their_names_and_the_hubs() -> None:
    made = compose(job_of("Qwen/Qwen3-8B", "Qwen/Qwen3-14B"), Wish(aliases=("small=qwen3-8b",)), plan={}, command=VLLM)
    assert made.config.models == ("qwen3-8b", "qwen3-14b")
    assert made.config.aliases == {
        "Qwen/Qwen3-8B": "qwen3-8b",
        "Qwen/Qwen3-14B": "qwen3-14b",
        "small": "qwen3-8b",
    }
    assert made.config.groups == ()
    assert made.cards == ("nvidia:0",)
    assert {upstream.key_env for upstream in made.config.upstreams} == {KEY_VARIABLE}
    assert made.secrets[KEY_VARIABLE] == made.specs[0].key


def test_names_of_the_hub_that_mean_two_engines_are_none() -> None:
    two = compose(job_of("2xQwen/Qwen3-8B", option="as_asked"), Wish(), plan={}, command=VLLM)
    assert two.config.aliases == {}
    shared = compose(job_of("2xQwen/Qwen3-8B", option="share"), Wish(), plan={}, command=VLLM)
    assert len(shared.specs) == 1
    assert shared.config.models == ("qwen3-8b", "qwen3-8b-2")
    assert shared.config.aliases == {"Qwen/Qwen3-8B": "qwen3-8b"}


def test_who_sleeps_takes_turns_with_who_shares_its_cards_and_the_awake_one_loads_last() -> None:
    job = job_of("Qwen/Qwen3-30B-A3B@bf16", "Qwen/Qwen3-32B@bf16", residency="swap")
    made = compose(job, Wish(pins=("qwen3-32b",), min_awake_s=7.0), plan={}, command=VLLM)
    (group,) = made.config.groups
    awake = next(one.served_names[0] for one in job.placement.instances if one.awake)
    assert set(group) == {"qwen3-30b-a3b", "qwen3-32b"}
    assert group[-1] == awake
    assert made.turning == {spec.name for spec in made.specs}
    assert made.config.policy.min_awake_s == 7.0
    assert made.config.pins == ("qwen3-32b",)


def test_on_the_processor_the_awake_one_is_the_first_to_start() -> None:
    job = job_of("Qwen/Qwen3-30B-A3B@bf16", "Qwen/Qwen3-32B@bf16", residency="swap", cpu=True)
    made = compose(job, Wish(cpu=True), plan={}, command=VLLM)
    awake = next(one.served_names[0] for one in job.placement.instances if one.awake)
    assert made.config.groups[0][0] == awake
    assert made.cards == ("cpu",)


def test_cards_with_nothing_asleep_take_no_turns() -> None:
    gpus = ["RTX PRO 6000", "RTX PRO 6000"]
    job = job_of("Qwen/Qwen3-32B@bf16", "Qwen/Qwen3-30B-A3B@bf16", gpu=gpus)
    made = compose(job, Wish(), plan={}, command=VLLM)
    assert made.config.groups == ()
    assert made.cards == ("nvidia:0", "nvidia:1")


def test_engines_elsewhere_help_after_those_of_this_machine() -> None:
    wish = Wish(upstreams=("qwen3-8b=http://10.0.0.7:8000", "far=http://10.0.0.8:8000"))
    made = compose(job_of("Qwen/Qwen3-8B"), wish, plan={}, command=VLLM)
    urls = [upstream.url for upstream in made.config.upstreams if upstream.model == "qwen3-8b"]
    assert urls == [made.specs[0].url, "http://10.0.0.7:8000"]
    assert made.config.models == ("qwen3-8b", "far")
    assert made.config.upstreams[-1].key_env is None


@pytest.mark.parametrize(
    "wish",
    [
        Wish(aliases=("small=none",)),
        Wish(aliases=("qwen3-8b=qwen3-8b",)),
        Wish(pins=("qwen3-8b",)),
        Wish(upstreams=("x=http://8.8.8.8",)),
        Wish(upstreams=("x",)),
    ],
)
def test_what_means_nothing_here_is_refused(wish: Wish) -> None:
    with pytest.raises(BadValue):
        compose(job_of("Qwen/Qwen3-8B"), wish, plan={}, command=VLLM)


def test_ports_are_free_and_different() -> None:
    ports = free_ports(20, besides=8000)
    assert len(set(ports)) == 20
    assert 8000 not in ports
