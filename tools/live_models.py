"""The model catalogue with the hub over it: where the network is allowed, the hub's config and sizes go first."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tools.domain import ModelSpec, Note, note
from tools.errors import HubUnavailable, UnknownModel
from tools.settings import Settings
from tools.specs.models import ModelCatalogue, ModelMatch

DOWN_S = 60.0
"""A repository that the hub did not speak about is asked about again after this long; answers are kept."""


def _answer(settings: Settings, repo: str) -> Any:
    from tools.specs.hub import HubClient

    try:
        return HubClient(settings).model(repo)
    except (HubUnavailable, UnknownModel) as error:
        return note(error.code, **error.params)


class LiveModels(ModelCatalogue):
    """A ``ModelCatalogue`` whose answers carry what the hub says; without the hub they are the catalogue's own.

    A hub id that the catalogue does not know is read from the hub, or from what it said before.

    Args:
        settings: whether the network may be used, and where the hub is.
        override: also ask about models that the catalogue knows; where speed matters more, only unknown ids are asked.
    """

    def __init__(self, settings: Settings, *, override: bool = True) -> None:
        super().__init__()
        object.__setattr__(self, "_settings", settings)
        object.__setattr__(self, "_override", override)
        object.__setattr__(self, "_asked", {})

    def find(self, query: str, *, size_b: float | None = None, variant: str | None = None) -> ModelMatch:
        """Find a model as the catalogue does, then ask the hub about its repository.

        Raises:
            UnknownModel: neither the catalogue nor the hub knows it.
        """
        try:
            match = super().find(query, size_b=size_b, variant=variant)
        except UnknownModel:
            spec = self._from_hub(query.strip()) if "/" in query else None
            if spec is None:
                raise
            return ModelMatch(spec, query, "exact")
        override: bool = getattr(self, "_override")  # noqa: B009
        return replace(match, spec=self._overridden(match.spec)) if override else match

    def own_config(self, repo: str) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
        """Return a repository's own config files: the catalogue's where it has all of them, else the hub's."""
        known = super().own_config(repo)
        if known is not None:
            return known
        answer = self._hub(repo)
        return None if isinstance(answer, Note) else (answer.config, answer.quant_config)

    def problem(self, repo: str) -> Note | None:
        """Return why the hub did not speak about a repository, or None where it did."""
        answer = self._hub(repo)
        return answer if isinstance(answer, Note) else None

    def _hub(self, repo: str) -> Any:
        """Return the hub's answer, or a Note where there is none; an answer is kept for the process."""
        settings: Settings = getattr(self, "_settings")  # noqa: B009  set on a frozen dataclass
        asked: dict[str, Any] = getattr(self, "_asked")  # noqa: B009
        if not settings.network:
            return note("errors_specs.hub_switched_off")
        known = asked.get(repo)
        if known is None or (isinstance(known[1], Note) and time.monotonic() > known[0]):
            known = asked[repo] = (time.monotonic() + DOWN_S, _answer(settings, repo))
        return known[1]

    def _overridden(self, spec: ModelSpec) -> ModelSpec:
        answer = self._hub(spec.name)
        if isinstance(answer, Note):
            return spec
        from tools.specs.hub import override

        return override(spec, answer)

    def _from_hub(self, repo: str) -> ModelSpec | None:
        settings: Settings = getattr(self, "_settings")  # noqa: B009
        # without the network an answer of the hub that was kept is better than none
        answer = self._hub(repo) if settings.network else _answer(settings, repo)
        if isinstance(answer, Note):
            return None
        from tools.vram.architecture import spec_from_config

        told = note("specs.from_hub", name=repo, revision=answer.revision[:12])
        return spec_from_config(
            answer.config,
            name=repo,
            quant_config=answer.quant_config,
            published_bytes=answer.weight_bytes,
            revision=answer.revision,
            source="hub config.json",
            status=(told,),
        )
