"""llama-swap's configuration: read back as it was meant, with every set of engines that fits."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import make_gguf, make_llama, make_plan
from ruamel.yaml import YAML

from tools.domain import InstancePlan
from tools.errors import BadValue
from tools.launch.argv.llamacpp import llamacpp_argv
from tools.launch.checks.llama_swap import check_llama_swap, combinations_of
from tools.launch.choices import Choices
from tools.launch.generate import LaunchFiles, generate
from tools.units import GIB

names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=",")
    | st.sampled_from(list("$`'\"\\{}[]&*!|><%@#:;?~^=- яЯ")),
    min_size=1,
    max_size=30,
)


def engine(name: str, gib: int, *cards: int, awake: bool = True, **changes: Any) -> InstancePlan:
    gpus = cards or (0,)
    one = make_llama(name, (f"model-{name}",), gpus=gpus, **changes)
    return replace(one, card_bytes=(gib * GIB,) * len(gpus), awake=awake)


def made(*instances: InstancePlan, language: str = "en", choices: Choices | None = None, **plan: Any) -> LaunchFiles:
    plan_made = make_plan(*instances, engine="llama.cpp", **plan)
    return generate(plan_made, target="llama-swap", language=language, choices=choices or Choices(), checked=False)


def config(launch: LaunchFiles) -> Any:
    text = next(file.content for file in launch.files if file.path == "config.yaml")
    reader: Any = YAML(typ="safe", pure=True)
    return reader.load(text)


def sets(launch: LaunchFiles) -> set[frozenset[str]]:
    """Sets of engines that may run at once, as llama-swap works them out."""
    matrix = config(launch)["routing"]["router"]["settings"]["matrix"]
    found = {one for rule in matrix["sets"].values() for one in combinations_of(rule, matrix["sets"])}
    return {frozenset(matrix["vars"][name] for name in one) for one in found}


def test_an_engine_each_with_its_command_cards_and_names():
    launch = made(engine("a", 10), engine("b", 10, 1))
    document = config(launch)
    for name, cards in (("a", (0,)), ("b", (1,))):
        model = document["models"][name]
        command = llamacpp_argv(engine(name, 10, *cards), host="127.0.0.1", port="${PORT}")
        assert shlex.split(model["cmd"]) == [*command, "--cors-origins", "localhost"]
        assert f"CUDA_VISIBLE_DEVICES={cards[0]}" in model["env"]
        assert model["aliases"] == [f"model-{name}"]
    assert document["hooks"]["on_startup"]["preload"] == ["a", "b"]
    assert document["healthCheckTimeout"] >= 300


def test_what_fits_together_is_one_set():
    assert sets(made(engine("a", 40), engine("b", 40))) == {frozenset("ab")}
    groups = config(made(engine("a", 40), engine("b", 40)))["routing"]["router"]["settings"]["groups"]
    assert groups == {"engines": {"swap": False, "exclusive": False, "members": ["a", "b"]}}


def test_what_does_not_fit_together_takes_turns():
    launch = made(engine("a", 60), engine("b", 60, awake=False), kind="swap")
    assert sets(launch) == {frozenset("a"), frozenset("b")}
    assert config(launch)["routing"]["router"]["settings"]["groups"]["engines"]["swap"] is True
    assert config(launch)["hooks"]["on_startup"]["preload"] == ["a"]


def test_every_set_of_three_that_fits_is_there_and_no_other():
    launch = made(engine("a", 50), engine("b", 40), engine("c", 45, awake=False), kind="swap")
    assert sets(launch) == {frozenset("ab"), frozenset("ac"), frozenset("bc")}


def test_cards_are_counted_each_on_its_own():
    launch = made(engine("a", 90, 0), engine("b", 90, 1), engine("c", 50, 0, 1, awake=False), kind="swap")
    assert sets(launch) == {frozenset("ab"), frozenset("c")}


def test_turns_that_were_asked_for_are_taken_even_where_all_would_fit():
    launch = made(engine("a", 10), engine("b", 10, awake=False), engine("c", 10, 1), kind="swap", residency="swap")
    assert sets(launch) == {frozenset("ac"), frozenset("bc")}


def test_many_engines_are_not_tried_in_every_combination():
    launch = made(*(engine(f"e{n}", 1, n % 2) for n in range(14)), engine("z", 90, awake=False), kind="swap")
    assert sets(launch) == {frozenset(f"e{n}" for n in range(14)), frozenset("z")}


def test_stopping_an_engine_costs_what_has_to_be_read_again():
    launch = made(engine("a", 10), engine("b", 10, checkpoint=make_gguf(file_bytes=30 * GIB + 1)))
    assert config(launch)["routing"]["router"]["settings"]["matrix"]["evict_costs"] == {"m1": 5, "m2": 31}


def test_open_to_others_only_with_a_key_and_by_reference():
    launch = made(engine("a", 10), choices=Choices(open=True))
    assert config(launch)["apiKeys"] == ["${env.LLAMA_SWAP_API_KEY}"]
    start = next(file.content for file in launch.files if file.path == "start.sh")
    assert "--listen 0.0.0.0:8000" in start
    assert "LLAMA_SWAP_API_KEY:-" in start
    assert "--host 127.0.0.1" in config(launch)["models"]["a"]["cmd"]
    closed = made(engine("a", 10))
    assert "apiKeys" not in config(closed)


def test_without_cards():
    model = config(made(engine("a", 10), choices=Choices(cpu=True)))["models"]["a"]
    assert "--device none" in model["cmd"]
    assert "env" not in model


def test_a_name_of_two_engines_is_refused():
    with pytest.raises(BadValue):
        made(make_llama("a", ("same",)), make_llama("b", ("same",)))
    with pytest.raises(BadValue):
        made(make_llama("a", ("b",)), make_llama("b", ("model",)))


@pytest.mark.parametrize("name", ["${PORT}", "x${env.HOME}", "${"])
def test_a_name_that_llama_swap_would_replace_is_refused(name: str):
    with pytest.raises(BadValue):
        made(make_llama("a", (name,)))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_everything_is_accepted(language: str):
    file = make_gguf("Org/Model-8B", "Q6_K", hypothetical=True)
    plan = make_plan(engine("a", 40), engine("b", 60, awake=False, checkpoint=file), kind="swap", engine="llama.cpp")
    launch = generate(plan, target="llama-swap", language=language)
    assert {check.name for check in launch.checks} >= {"yaml", "llama-swap-config", "llamacpp-flags", "shellcheck"}
    assert all(check.ok for check in launch.checks), launch.checks


@settings(max_examples=200, deadline=None)
@given(st.lists(names, min_size=1, max_size=3, unique=True), st.text(max_size=30))
@example(["#x", "yes", "a: b"], "x\n- y")
@example(["\ufffe", "\u0085x", "\U000e0001"], "`id`")
@example(["'", '"', "\\"], "")
@example(["x\u3000", "1e3", "null"], "\ufffe\uffff")
def test_whatever_a_name_holds_it_is_read_back(served: list[str], repo: str):
    file = make_gguf(f"Org/{repo or 'x'}", "Q6_K", hypothetical=True)
    try:
        launch = made(make_llama("a", tuple(served), checkpoint=file))
    except BadValue:
        return
    model = config(launch)["models"]["a"]
    words = shlex.split(model["cmd"])
    assert words[words.index("--alias") + 1] == ",".join(served)
    assert model["aliases"] == [name for name in served if name != "a"]
    assert check_llama_swap(launch.files[0].content).ok


def broken(**changes: Any) -> str:
    document = config(made(engine("a", 40), engine("b", 40)))
    for path, value in changes.items():
        *folders, last = path.split("__")
        inner = document
        for folder in folders:
            inner = inner[folder]
        inner[last] = value
    return json.dumps(document)


def test_an_untouched_one_is_accepted():
    assert check_llama_swap(broken()).ok


@pytest.mark.parametrize(
    "changes",
    [
        {"models__a": {"command": "x"}},
        {"models__a": {"cmd": "llama-server --port 1"}},
        {"models__a": {"cmd": "llama-server --port ${PORT} ${other}"}},
        {"models__a__aliases": ["model-b"]},
        {"models__a__aliases": ["b"]},
        {"models__a__ttl": "soon"},
        {"models__a__env": ["lower=1"]},
        {"hooks__on_startup__preload": ["z"]},
        {"hooks__on_start": {}},
        {"routing__router__use": "solver"},
        {"routing__router__settings__matrix__vars": {"m1": "a", "m2": "z"}},
        {"routing__router__settings__matrix__vars": {"much-too-long-a-name": "a"}},
        {"routing__router__settings__matrix__evict_costs": {"m9": 1}},
        {"routing__router__settings__matrix__evict_costs": {"m1": 0}},
        {"routing__router__settings__matrix__sets": {"s": "m1 & (m2"}},
        {"routing__router__settings__matrix__sets": {"s": "m1 m2"}},
        {"routing__router__settings__matrix__sets": {"s": "m1 & m9"}},
        {"routing__router__settings__matrix__sets": {"s": "+s"}},
        {"routing__router__settings__groups": {"g": {"members": ["z"]}}},
        {"routing__router__settings__groups": {"g": {"members": ["a"]}, "h": {"members": ["a"]}}},
    ],
)
def test_what_llama_swap_would_refuse_is_seen(changes: dict[str, Any]):
    assert check_llama_swap(broken(**changes)).ok is False


def test_rules_are_read_by_the_grammar():
    sets = {"llms": "g | q", "all": "+llms & (v | e)"}
    assert set(combinations_of(sets["all"], sets)) == {
        frozenset(pair) for pair in (("g", "v"), ("g", "e"), ("q", "v"), ("q", "e"))
    }
