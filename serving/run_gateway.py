"""The gateway of a run: its engines by every name, those elsewhere, and who takes turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from serving.config import GatewayConfig, Upstream, read_aliases, read_pins, read_upstreams
from serving.orders import Policy
from serving.spec import EngineSpec
from serving.wish import Wish
from tools.launch.job import Job

KEY_VARIABLE = "RIGFIT_ENGINE_KEY"
"""Name under which the gateway finds the key of its own engines; no such variable is ever set."""


def gateway_config(wish: Wish, job: Job, specs: Sequence[EngineSpec], keys: tuple[str, ...]) -> GatewayConfig:
    """Return how the gateway of a run works.

    Args:
        wish: what was told.
        job: what is run.
        specs: its engines.
        keys: what clients must show; empty = nothing.

    Raises:
        BadValue: an alias, an upstream or a pin that can't be read or means nothing here.
    """
    places = {instance.name: place for place, instance in enumerate(job.placement.instances)}
    as_asked = sorted(specs, key=lambda spec: places[spec.unit.instance.name])
    own = tuple(Upstream(name, spec.url, KEY_VARIABLE) for spec in as_asked for name in spec.served_names)
    elsewhere = (
        read_upstreams(wish.upstreams, far=wish.far, keys=wish.upstream_keys) if wish.upstreams else tuple[Upstream]()
    )
    upstreams = (*own, *elsewhere)
    names = {upstream.model for upstream in upstreams}
    aliases = read_aliases(wish.aliases, names)
    groups = turn_groups(job, specs)
    return GatewayConfig(
        upstreams=upstreams,
        aliases={**hub_names(as_asked, {*names, *aliases}), **aliases},
        host=wish.host,
        port=wish.port,
        keys=keys,
        origins=wish.origins,
        far=wish.far,
        language=wish.language,
        groups=groups,
        policy=_policy(wish),
        sleep_level=wish.sleep_level,
        pins=read_pins(wish.pins, groups),
    )


def turn_groups(job: Job, specs: Sequence[EngineSpec]) -> tuple[tuple[str, ...], ...]:
    """Return the models that take turns, group by group: those of engines on cards where the plan lets one sleep.

    The one that the plan has awake comes last where all have sleep mode, because the last to load stays awake; else
    it comes first, because that is the only one that is started at once.
    """
    instances = {instance.name: instance for instance in job.placement.instances}
    groups: list[tuple[set[int], list[EngineSpec]]] = []
    for spec in specs:
        cards, members = set(instances[spec.unit.instance.name].gpu_indices), [spec]
        for group in [group for group in groups if group[0] & cards]:
            groups.remove(group)
            cards, members = group[0] | cards, group[1] + members
        groups.append((cards, members))
    found: list[tuple[str, ...]] = []
    for _, members in groups:
        awake = {spec.name: instances[spec.unit.instance.name].awake for spec in members}
        if len(members) > 1 and not all(awake.values()):
            last = all(spec.can_sleep for spec in members)
            ordered = sorted(members, key=lambda spec: awake[spec.name] is last)
            found.append(tuple(name for spec in ordered for name in spec.served_names))
    return tuple(found)


def hub_names(specs: Iterable[EngineSpec], taken: Iterable[str]) -> Mapping[str, str]:
    """Return the hub's names of the models as aliases, where each means one engine and is no name already."""
    repos: dict[str, list[str]] = {}
    for spec in specs:
        repos.setdefault(spec.unit.checkpoint.repo, []).append(spec.served_names[0])
    taken = set(taken)
    return {repo: names[0] for repo, names in repos.items() if len(names) == 1 and repo not in taken}


def _policy(wish: Wish) -> Policy:
    said = {"min_awake_s": wish.min_awake_s, "max_wait_s": wish.max_wait_s, "ttl_s": wish.ttl_s}
    return replace(Policy(), **{name: value for name, value in said.items() if value is not None})
