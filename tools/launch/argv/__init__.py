"""The one builder of engine flags, a module an engine; plans print them, files carry them, processes use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tools.domain import InstancePlan
from tools.launch.argv.words import FlagValue

BUILDERS = {"vllm": "tools.launch.argv.vllm:vllm_flags"}
"""Where each engine's flags are built, as ``module:function``; the function takes an ``InstancePlan``."""


def engine_flags(instance: InstancePlan) -> Mapping[str, FlagValue]:
    """Return the flags of an instance's engine, by name without dashes, in a fixed order.

    Address and port are the launcher's business and not among them. Flags left at the engine's default are absent. An
    engine that is not started by flags has none.

    Raises:
        BadValue: a name that a command line cannot carry.
    """
    where = BUILDERS.get(instance.deployment.engine)
    if where is None:
        return {}
    module, _, name = where.partition(":")
    loaded: Any = import_module(module)
    build: Callable[[InstancePlan], Mapping[str, FlagValue]] = getattr(loaded, name)
    return build(instance)
