"""The rules: which tools a reading calls for, in which order. Instant, offline, the same every time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessage

from agent.decide.counting import cards_to_count
from agent.decide.searching import search_query
from agent.logs import is_about_log, log_arguments, log_in
from agent.rigs import current_rig
from agent.smalltalk import asks_to_explain, asks_what_is, is_thanks
from agent.state import COUNT, State, artifact, failures, tool_calls
from tools.knowledge import MAX_QUESTION, find, is_outside
from tools.launch.generate import TARGETS as LAUNCH_TARGETS
from tools.rough import is_unnamed

TARGETS = {
    "docker_compose": "compose",
    "vllm_serve": "vllm",
    "webui": "webui",
    "llama_cpp": "llamacpp",
    "llama_swap": "llama-swap",
    "ollama": "ollama",
    "sglang": "sglang",
    "k8s": "kubernetes",
    "ray": "ray",
    "slurm": "slurm",
}
"""Reading's ``config_kind`` to the launch target."""

ON_VLLM = frozenset({"docker_compose", "vllm_serve", "k8s", "ray", "slurm"})
"""Kinds of files for the engine that is planned for where none was named."""

ANSWERS_ALONE = frozenset({"read_engine_log", "explain_term"})
"""Tools after whose result nothing else is called."""

ON_CARDS = frozenset({"which_model", "compare", "hardware_needed", "how_many_gpus"})
"""Questions that the cards they name are enough to answer."""

_UNKNOWN = (
    "unknown_model", "unlike_any_model", "no_such_size", "no_such_repo", "unknown_gpu", "unlike_any_gpu",
    "gpu_without_memory",
)  # fmt: skip
"""How the codes of look-ups end that found nothing; a name that can't be one is not searched for."""

Call = tuple[str, dict[str, Any]]


class RulesDecider:
    """Chooses tool calls from the reading: facts and search first, then the plan, then files where they were asked for.

    Args:
        available: names of the tools there are.
    """

    name = "embedded"

    def __init__(self, available: frozenset[str]) -> None:
        self._available = available
        self._stages: tuple[Callable[[State], list[Call]], ...] = (_log, _explain, _facts, _plan, _count, _files)

    async def __call__(self, state: State) -> AIMessage:
        """Return the first stage's calls that were not made yet in this turn; none when all is done."""
        if is_thanks(state.get("turns", [""])[-1]):
            return AIMessage(content="")
        made = {call["name"] for call in tool_calls(state)}
        alone = () if "read_engine_log" in made else (_besides,)
        for stage in alone if made & ANSWERS_ALONE else self._stages:
            again = stage is _count
            calls = [(n, a) for n, a in stage(state) if (again or n not in made) and n in self._available]
            if calls:
                return AIMessage(
                    content="",
                    tool_calls=[{"name": n, "args": a, "id": f"call_{uuid.uuid4().hex[:12]}"} for n, a in calls],
                )
        return AIMessage(content="")

    async def rewrite(self, state: State, piece: str, wrong: tuple[str, ...]) -> str | None:
        """Return None: the rules write nothing."""
        return None


def _log(state: State) -> list[Call]:
    """Read the log that the turn holds or goes on about; it answers by itself, with a search where one is asked for."""
    reading, turns = state.get("reading", {}), state.get("turns", [])
    found = log_in(turns)
    if found is None or not is_about_log(reading, found, turns):
        return []
    return [("read_engine_log", log_arguments(reading, found, turns)), *_search(state)]


def _explain(state: State) -> list[Call]:
    """Explain a term where the message asks about one and nothing that has to be computed is named in it."""
    reading, asked = state.get("reading", {}), state.get("turns", [""])[-1]
    if reading.get("wants_search"):
        return []
    found = find(asked)
    named = bool(found) and found[0].named
    unknown = asks_what_is(asked) and reading.get("expect") == "scope" and not reading.get("names_now")
    if unknown or (found and _is_general(state, asked, named=named)):
        return [("explain_term", {"question": asked})]
    return []


def _is_general(state: State, asked: str, *, named: bool) -> bool:
    """Tell whether a message asks for an explanation rather than for a figure of the models or cards it names."""
    reading, asks = state.get("reading", {}), asks_to_explain(asked)
    if named and reading.get("expect") == "scope":
        return True
    if reading.get("ram_gb") and reading.get("intent") == "which_model":
        return False
    if reading.get("models_now"):
        return named and (asks_what_is(asked) or _is_beyond(reading, asked))
    if reading.get("names_now"):
        return named and (asks_what_is(asked) or (asks and reading.get("intent") not in ON_CARDS))
    if _is_under_way(state):
        return named and asks
    return asks or (named and len(asked) <= MAX_QUESTION and reading.get("intent") != "config")


def _is_beyond(reading: Mapping[str, Any], asked: str) -> bool:
    """Tell whether a question on models is about what is not computed: prices, wits, or a model that draws or hears."""
    always = find(asked)[0].entry.outside == "always"
    return always or any(is_outside(str(m.get("name"))) for m in reading.get("models", []))


def _besides(state: State) -> list[Call]:
    """Compute what running takes where something else was asked of a model ("fine-tune Qwen3-8B on a 4090")."""
    reading = state.get("reading", {})
    models = [m for m in reading.get("models", []) if m.get("name") and not is_outside(str(m["name"]))]
    if not reading.get("models_now") or not models or asks_what_is(state.get("turns", [""])[-1]):
        return []
    question = "compare" if reading.get("intent") == "compare" else "hardware_needed" if _lacks_card(state) else "fit"
    return [("calculate_vram", {**plan_arguments({**reading, "models": models}), "question": question})]


def _is_under_way(state: State) -> bool:
    """Whether there is a plan that a bare "why?" goes on about."""
    return bool(state.get("plan")) or bool(state.get("reading", {}).get("models"))


def _facts(state: State) -> list[Call]:
    """Look up what was named, search where that was asked for, look at this machine where its card is what lacks."""
    reading = state.get("reading", {})
    calls: list[Call] = []
    if _lacks_card(state) or reading.get("wants_this_machine"):
        calls.append(("detect_hardware", {}))
    if reading.get("expect") == "scope":
        return [(n, a) for n, a in calls if reading.get("wants_this_machine")] + _search(state)
    models = _distinct(_named(m) for m in reading.get("models", []) if not is_unnamed(m.get("name")))
    gpus = _distinct(_card(g) for g in reading.get("gpus", []) if g.get("name") or g.get("memory_gb"))
    if models or gpus:
        calls.append(("look_up_specs", {"models": models, "gpus": gpus}))
    return calls + _search(state)


def _search(state: State) -> list[Call]:
    reading = state.get("reading", {})
    if not reading.get("wants_search"):
        return []
    return [("search_web", {"query": search_query(reading, state.get("turns", [""])[-1])})]


def _plan(state: State) -> list[Call]:
    """Compute, unless the question itself is not understood; a model or card that is not known is searched for."""
    reading = state.get("reading", {})
    unknown = [f for f in failures(state) if f["tool"] == "look_up_specs" and _unknown(f)]
    if unknown:
        return [("search_web", {"query": search_query(reading, state.get("turns", [""])[-1], unknown)})]
    in_ram = reading.get("intent") == "which_model" and reading.get("ram_gb")
    has_cards = bool(reading.get("gpus")) or current_rig(state) is not None or in_ram
    if reading.get("expect") == "scope" or not (reading.get("models") or has_cards):
        return []
    return [("calculate_vram", plan_arguments(reading))]


def _count(state: State) -> list[Call]:
    """Count each of the cards that were compared where one of each is not enough."""
    asked = {**state.get("reading", {}), "intent": COUNT, "gpus_relation": None, "nodes": None}
    return [
        ("calculate_vram", plan_arguments({**asked, "gpus": [{**card, "count": None}]}))
        for card in cards_to_count(state)
    ]


def _unknown(failure: Mapping[str, Any]) -> bool:
    """Whether a look-up failed because nothing of that name is known, not because it means several."""
    return str(failure.get("code", "")).endswith(_UNKNOWN)


def _files(state: State) -> list[Call]:
    """Write files where a config was asked for; a plan that does not fit may fit on another engine."""
    reading = state.get("reading", {})
    if reading.get("intent") != "config":
        return []
    made = artifact(state, "calculate_vram")
    plan = made.get("plan") if made else None
    kind = str(reading.get("config_kind") or "docker_compose")
    if not plan or (plan["verdict"] == "does_not_fit" and kind in ON_VLLM):
        return []
    return [("generate_launch_config", {"target": TARGETS.get(kind, kind)})]


def _lacks_card(state: State) -> bool:
    return not state.get("reading", {}).get("gpus") and current_rig(state) is None


def plan_arguments(reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``calculate_vram``: what was said, and the engine of the files that are asked for."""
    plain = (
        "models_relation", "gpus_relation", "same_model", "context", "users", "ram_gb", "reserved_gb", "nodes",
        "engine", "kv_cache", "use",
    )  # fmt: skip
    arguments: dict[str, Any] = {
        "models": [_given(m) for m in reading.get("models", [])],
        "gpus": [_given(g) for g in reading.get("gpus", [])],
        "question": reading.get("intent", "fit"),
    }
    arguments.update({key: reading[key] for key in plain if reading.get(key) is not None})
    if arguments["question"] == "compare" and len(reading.get("engines") or ()) > 1:
        arguments["engines"] = reading["engines"]
    if arguments["question"] != "which_model":
        arguments.pop("use", None)
    if "engine" not in arguments and reading.get("config_kind") not in {None, *ON_VLLM}:
        arguments["engine"] = LAUNCH_TARGETS[TARGETS[reading["config_kind"]]].engine
    return arguments


def _distinct(asks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({tuple(ask.items()): ask for ask in asks}.values())


def _given(ask: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what was not said; ``copies`` and ``count`` None mean "that is the question" and stay."""
    return {k: v for k, v in ask.items() if v is not None or k in {"copies", "count"}}


def _named(ask: Mapping[str, Any]) -> dict[str, Any]:
    return {k: ask[k] for k in ("name", "size_b", "variant") if ask.get(k) is not None}


def _card(ask: Mapping[str, Any]) -> dict[str, Any]:
    return {k: ask[k] for k in ("name", "memory_gb") if ask.get(k) is not None}
