"""What flags and versions change about a model: towers left out or whole on each rank, the type of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tools.domain import Layer, LinearAttention, Mamba, Mixer, ModelSpec
from tools.errors import BadValue
from tools.vram.engines.rules import version_of

STATE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def as_asked(spec: ModelSpec, asked: Mapping[str, Any]) -> ModelSpec:
    """Return a model as flags load it.

    Args:
        spec: as its config declares it.
        asked: ``text_only`` (``--language-model-only``), ``encoder_mode`` (``--mm-encoder-tp-mode``), ``state_dtype``
            (``--mamba-ssm-cache-dtype``), ``engine_version``.

    Raises:
        BadValue: a type that no state has.
    """
    if asked.get("text_only"):
        from tools.vram.families import towers

        spec = towers.without(spec)
    elif asked.get("encoder_mode") == "data" or _is_whole(spec, asked.get("engine_version")):
        from tools.vram.families import towers

        spec = towers.on_every_rank(spec)
    dtype = asked.get("state_dtype")
    return spec if dtype in {None, "auto"} else _with_states(spec, str(dtype))


SHARED_FROM = {"ultravox": (0, 28, 0)}
"""First version in which ranks share a family's towers; before, vLLM ran the class of transformers (0.6.6 to 0.27)."""


def _is_whole(spec: ModelSpec, version: object) -> bool:
    since = SHARED_FROM.get(spec.model_type)
    return since is not None and version_of(None if version is None else str(version)) < since


def _with_states(spec: ModelSpec, dtype: str) -> ModelSpec:
    size = STATE_BYTES.get(dtype)
    if size is None:
        allowed = ", ".join(("auto", *STATE_BYTES))
        raise BadValue("errors_vram.bad_dtype", value=dtype[:40], allowed=allowed)
    made: dict[int, Layer] = {}
    for layer in spec.layers:
        if id(layer) not in made:
            made[id(layer)] = replace(layer, mixers=tuple(_with_state(mixer, size) for mixer in layer.mixers))
    return replace(spec, layers=tuple(made[id(layer)] for layer in spec.layers))


def _with_state(mixer: Mixer, size: int) -> Mixer:
    return replace(mixer, state_bytes=size) if isinstance(mixer, LinearAttention | Mamba) else mixer
