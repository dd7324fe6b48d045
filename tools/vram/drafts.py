"""Weights of a head that drafts tokens: counted only where speculative decoding is asked for.

A multi-token-prediction head is a layer like the model's last, a projection of two hidden vectors to one, and three
norms; embeddings and the output head are the model's own (vLLM 0.32 ``models/deepseek_mtp.py``, ``qwen3_5_mtp.py``,
``glm4_moe_mtp.py``, ``mimo_mtp.py``; ``v1/spec_decode/llm_base_proposer.py:_maybe_share_lm_head``).
"""

from __future__ import annotations

from dataclasses import replace

from tools.domain import Checkpoint, DenseMlp, Deployment, Quantization
from tools.vram.kv.deployed import drafting_layers
from tools.vram.stages import Stage
from tools.vram.weights import element_bytes, stage_bytes

NORMS = 3
"""Vectors of the hidden size beside the layer: before the projection (two) and after the layer."""


DENSE_HEADS = frozenset({"ernie4_5_moe", "mimo_v2", "mimo_v2_flash", "step3p5", "step3p7"})
"""Mixtures of experts whose head is dense (``mimo_v2_mtp.py``, ``step3p5_mtp.py``, ``ernie_mtp.py``)."""


def draft_bytes(deployment: Deployment) -> int:
    """Bytes of a multi-token-prediction head on one rank of the last stage; 0 without one.

    Heads of other kinds come from a repository of their own, which is not known here.

    Worked example: MiMo-7B's head is 421,580,800 B in bfloat16, the 210,790,400 parameters published beyond the model.

    Raises:
        NotYetExact: the checkpoint's format is not covered.
        BadValue: the sizes do not divide among the ranks.
    """
    layers = drafting_layers(deployment) if deployment.draft == "mtp" else ()
    if not layers:
        return 0
    model, count = deployment.model, len(deployment.model.layers)
    if model.model_type in DENSE_HEADS:
        dense = next((layer.mlp for layer in model.layers if isinstance(layer.mlp, DenseMlp)), layers[0].mlp)
        layers = tuple(replace(layer, mlp=dense) for layer in layers)
    head = replace(model, layers=model.layers + layers, outer=(), outer_elements=0, tower_params=0, every_stage=())
    stage = Stage(count, count + len(layers), is_first=False, is_last=False)
    stored = sum(stage_bytes(head, _checkpoint(deployment.checkpoint), deployment.ranks, (stage,)))
    beside = model.hidden_size * (2 * model.hidden_size + NORMS)
    return stored + len(layers) * beside * element_bytes(deployment.checkpoint.dtype)


def _checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Keep the head in 16 bits where the checkpoint names it among what stays so."""
    named = any("mtp" in name and "mtp.fc" not in name for name in checkpoint.quantization.excluded)
    return replace(checkpoint, quantization=Quantization()) if named else checkpoint
