"""The engines behind the gateway: who answers for which name, how busy and how well each is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from serving.config import Upstream
from serving.errors import Refused, shown

_NAMES_SHOWN = 20


@dataclass(slots=True, eq=False)
class Engine:
    """One server, whatever names it answers for.

    Attributes:
        url: base address without ``/v1``.
        key_env: name of the variable that holds its key.
        in_flight: requests that it has now.
        healthy: what the last look said; None before the first.
        health_path: where it tells how it is; the first that it knows.
        models: the names that it answers for.
    """

    url: str
    key_env: str | None = None
    in_flight: int = 0
    healthy: bool | None = None
    health_path: str = "/health"
    models: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``ready``, ``down`` or, before the first look, ``unknown``."""
        return {None: "unknown", True: "ready", False: "down"}[self.healthy]


@dataclass(slots=True)
class Upstreams:
    """Models by name, each with the engines that serve it.

    Attributes:
        models: name -> engines; more than one are replicas.
        aliases: other name -> name.
    """

    models: dict[str, tuple[Engine, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, upstreams: Iterable[Upstream], aliases: Mapping[str, str]) -> Upstreams:
        """Build the table; one address is one engine, also where it serves several names."""
        engines: dict[tuple[str, str | None], Engine] = {}
        models: dict[str, tuple[Engine, ...]] = {}
        for upstream in upstreams:
            place = (upstream.url, upstream.key_env)
            engine = engines.setdefault(place, Engine(*place))
            engine.models = (*engine.models, upstream.model)
            models[upstream.model] = (*models.get(upstream.model, ()), engine)
        return cls(models, aliases)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Every engine once, in the order in which they were named."""
        return tuple(dict.fromkeys(engine for engines in self.models.values() for engine in engines))

    def resolve(self, name: str) -> str:
        """Return the model that a name or an alias means.

        Raises:
            Refused: there is no such name.
        """
        model = self.aliases.get(name, name)
        if model not in self.models:
            names = [*self.models, *self.aliases]
            said = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
            raise Refused("unknown_model", name=shown(name), names=said)
        return model
