"""The one builder of engine flags, a module an engine; plans print them, files carry them, processes use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from tools.domain import Gpu, InstancePlan, Placement
from tools.launch.argv.words import FlagValue

BUILDERS = {
    "text-generation-webui": "tools.launch.argv.webui:webui_flags",
    "vllm": "tools.launch.argv.vllm:vllm_flags",
    "llama.cpp": "tools.launch.argv.llamacpp:llamacpp_flags",
    "sglang": "tools.launch.argv.sglang:sglang_flags",
}
"""Where each engine's flags are built, as ``module:function``; the function takes an ``InstancePlan``."""

COMMANDS = {
    "vllm": "tools.launch.argv.vllm:vllm_argv",
    "llama.cpp": "tools.launch.argv.llamacpp:llamacpp_argv",
    "sglang": "tools.launch.argv.sglang:sglang_argv",
}
"""Where each engine's whole command is built, likewise."""


def engine_flags(instance: InstancePlan, gpus: Sequence[Gpu] = ()) -> Mapping[str, FlagValue]:
    """Return the flags of an instance's engine, by name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent. An
    engine that is not started by flags has none.

    Args:
        instance: an engine process of a plan.
        gpus: its cards (``own_cards``), on which some flags depend.

    Raises:
        BadValue: a name that a command line cannot carry.
    """
    build = _found(BUILDERS, instance)
    return build(instance, **_cards(instance, gpus)) if build else {}


def engine_argv(instance: InstancePlan, gpus: Sequence[Gpu] = ()) -> list[str]:
    """Return the command that starts an instance's engine, without address and port; empty where it has none.

    Args:
        instance: an engine process of a plan.
        gpus: its cards (``own_cards``), on which some flags depend.

    Raises:
        BadValue: a name that a command line cannot carry.
    """
    build = _found(COMMANDS, instance)
    return build(instance, **_cards(instance, gpus)) if build else []


def own_cards(instance: InstancePlan, placement: Placement, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Return an instance's cards, as far as they are among ``gpus``; cards that an option adds may be others."""
    known = {gpu.name: gpu for gpu in gpus}
    return [known[use.name] for use in placement.gpus if use.index in instance.gpu_indices and use.name in known]


def _cards(instance: InstancePlan, gpus: Sequence[Gpu]) -> dict[str, Any]:
    """What the builders that ask for cards take."""
    return {"gpus": gpus} if instance.deployment.engine == "vllm" else {}


def _found(table: Mapping[str, str], instance: InstancePlan) -> Callable[..., Any] | None:
    where = table.get(instance.deployment.engine)
    if where is None:
        return None
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
