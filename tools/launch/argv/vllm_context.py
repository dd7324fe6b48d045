"""A context beyond the model's own: only where its publisher says how, by YaRN."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from tools.domain import Deployment
from tools.errors import BadValue
from tools.launch.argv.vllm_parsers import words_of


class Yarn(NamedTuple):
    """How far a family's context reaches by YaRN.

    Attributes:
        trained: tokens that the model was trained on.
        most: tokens that its publisher tried.
        theta: base of its rotary positions, which must be said again (vLLM replaces the whole mapping).
    """

    trained: int
    most: int
    theta: int


_QWEN = Yarn(32_768, 131_072, 1_000_000)
YARN = {
    # "Processing Long Texts" on the model cards Qwen/Qwen3-30B-A3B and Qwen/Qwen2.5-7B-Instruct: factor 4 of 32,768
    ("qwen3", frozenset({"qwen3"})): _QWEN,
    ("qwen3_moe", frozenset({"qwen3"})): _QWEN,
    ("qwen2", frozenset({"qwen2.5", "instruct"})): _QWEN,
}
"""By type and words of the name (``vllm_parsers.words_of``)."""


def overrides_for(deployment: Deployment) -> str | None:
    """Return the value of ``--hf-overrides`` that a deployment's context needs, None where the model reads so far.

    vLLM 0.32.0 has no ``--rope-scaling``, and takes ``max_position_embeddings`` for scaled already
    (``_get_and_verify_max_len``, vllm/config/model.py), so both are set.

    Raises:
        BadValue: no known way leads to that context.

    Example:
        Qwen3-30B-A3B (40,960) at 65,536: ``{"max_position_embeddings": 65536, "rope_parameters": {"rope_type": "yarn",
        "factor": 2.0, "original_max_position_embeddings": 32768, "rope_theta": 1000000}}``.
    """
    stretched = stretch_of(deployment)
    if stretched is None:
        return None
    yarn, factor = stretched
    rope = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": yarn.trained,
        "rope_theta": yarn.theta,
    }
    return json.dumps({"max_position_embeddings": int(yarn.trained * factor), "rope_parameters": rope})


def stretch_of(deployment: Deployment) -> tuple[Yarn, float] | None:
    """Return by which rule and factor a model reaches a deployment's context, None where it reads so far by itself.

    Raises:
        BadValue: no known way leads to that context.
    """
    model, wanted = deployment.model, deployment.max_model_len
    if wanted is None or wanted <= model.max_context:
        return None
    name = deployment.checkpoint.repo if deployment.checkpoint.sibling_of else model.name
    yarn = YARN.get((model.model_type, words_of(name)))
    if yarn is None or wanted > yarn.most or model.max_context > 2 * yarn.trained:
        limit = model.max_context if yarn is None else max(model.max_context, yarn.most)
        raise BadValue("errors_launch.context_beyond", name=model.name, asked=wanted, limit=limit)
    return yarn, float(math.ceil(wanted / yarn.trained))
