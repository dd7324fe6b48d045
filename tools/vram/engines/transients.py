"""What vLLM's profiling run peaks at, and what captured CUDA graphs take."""

from __future__ import annotations

from tools.domain import (
    Attention,
    Band,
    CompressedAttention,
    DenseMlp,
    Deployment,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    ModelSpec,
    MoeMlp,
)
from tools.units import GIB
from tools.vram.engines.profiled import Fed

SAMPLER_BYTES = {"sort": Band(36.0, 38.7, 40.0), "fused": Band(8.0, 12.0, 28.0), "logits": Band(1.0, 2.0, 6.0)}
"""Bytes x sequences x vocabulary at the peak of the profiling run's sampler, by sampler path.

``sort``: PyTorch's top-k/top-p sorts the whole vocabulary. Start-up logs of vLLM 0.6 to 0.16 give 38.3-40 whatever the
model's size; live tensors alone are 24 (``v1/sample``), the sort kernel's workspace comes on top.
``fused``: Triton or FlashInfer; 16-bit and float32 logits, probabilities, and noise with Triton (2 + 4 + 4 + 4); logs
give 10.4 (Qwen3-VL-8B on a B200) to 29.
``logits``: the V2 runner's profiling run samples greedily from the 16-bit logits alone
(``v1/worker/gpu/model_runner.py:_dummy_sampler_run``).
An inference from logs, partly confirmed from source.
"""

UNSTATED_SEQUENCES = 1 / 64
"""Where ``max_num_seqs`` is not stated it may have been set lower than the default, down to four of 256: logs go down
to 0.06 of what the default would take (Qwen2.5-0.5B-AWQ 0.085 of 1.4 GiB)."""

LEAST_FORWARD = 0.5
"""Share of the forward pass's estimate that compiled code may get by with: assumed."""

UNSTATED_TOKENS = 0.6
"""Where ``max_num_batched_tokens`` is not stated a step may be smaller than the default: e5-mistral-7b left 0.36 GiB of
an expected 0.91."""


MAYBE_SEEN, ALWAYS_SEEN = (0.0, 1.5), (0.8, 1.25)
"""Shares of the encoder's estimate: images may be limited or turned off (``--limit-mm-per-prompt``), but not where each
sequence has one to attend to: assumed."""


def activation(deployment: Deployment, fed: Fed, sampler: str) -> Band:
    """Peak of the profiling run above what stays: the largest of the forward pass, the encoder's and the sampler's.

    Worked example: Qwen3-32B on an H100 with vLLM 0.11: 1,024 sequences x 151,936 x 38.7 B = 5.61 GiB (logged: 5.64).

    Args:
        deployment: what runs.
        fed: what the profiling run feeds it.
        sampler: a key of ``SAMPLER_BYTES``.
    """
    forward = forward_bytes(deployment.model, fed.tokens, deployment.tp)
    seen = encoder_bytes(deployment.model, fed.seen)
    logits = 0 if deployment.model.pools else fed.sequences * deployment.model.vocab_size
    factor = SAMPLER_BYTES[sampler]
    lowest = factor.low if deployment.max_num_seqs else UNSTATED_SEQUENCES * factor.low
    least = LEAST_FORWARD if deployment.max_num_batched_tokens else UNSTATED_TOKENS * LEAST_FORWARD
    always = deployment.model.encoder is not None and deployment.model.encoder.each_sequence
    dimmest, brightest = ALWAYS_SEEN if always and deployment.max_num_seqs else MAYBE_SEEN
    return Band(
        max(least * forward, dimmest * seen, lowest * logits),
        max(forward, seen, factor.value * logits),
        max(2.0 * forward, brightest * seen, factor.high * logits),
    )


def forward_bytes(model: ModelSpec, tokens: int, tp: int) -> int:
    """Bytes alive at once in the widest layer of a forward pass over ``tokens`` tokens in 16 bits.

    Gate, up and their product, beside four vectors of the hidden size; a mixture of experts holds them for each active
    expert, and an output of each. Qwen2.5-0.5B at 8,192 tokens: 0.28 GiB (logged: 0.31).
    """
    widest = 0
    for layer in {id(layer): layer for layer in model.layers}.values():
        mixers = sum(_mixer_width(mixer) for mixer in layer.mixers) // tp
        widest = max(widest, max(_mlp_width(layer.mlp, model.hidden_size, tp), mixers) + 4 * model.hidden_size)
    return 2 * tokens * widest


def encoder_bytes(model: ModelSpec, tokens: int) -> int:
    """Bytes alive at once in the vision encoder that makes ``tokens`` tokens for the text model."""
    return 2 * model.encoder.elements_a_token * tokens if model.encoder else 0


def _mlp_width(mlp: DenseMlp | MoeMlp | None, hidden: int, tp: int) -> int:
    if mlp is None:
        return 0
    copies = mlp.active if isinstance(mlp, MoeMlp) else 1
    return copies * 3 * mlp.intermediate // tp + (copies * hidden if copies > 1 else 0)


def _mixer_width(mixer: Mixer) -> int:
    """Elements a token has alive in a mixer, over all ranks."""
    if isinstance(mixer, Attention):
        return 2 * (mixer.heads + mixer.kv_heads) * mixer.head_dim
    if isinstance(mixer, MlaAttention):
        return 3 * mixer.heads * (mixer.nope_head_dim + mixer.rope_head_dim)
    if isinstance(mixer, CompressedAttention):
        return 3 * mixer.heads * mixer.head_dim
    if isinstance(mixer, LinearAttention):
        return 2 * (mixer.key_heads * mixer.key_head_dim * 2 + mixer.value_heads * mixer.value_head_dim * 2)
    return 4 * (mixer.intermediate if isinstance(mixer, Mamba) else mixer.width)


GRAPH_GIB_A_LAYER = (0.0, 0.011, 0.035)
"""Estimated graph memory over the number of layers, from 0.21 on: start-up logs of DeepSeek-V4-Flash 0.64 GiB, others
0.11 to 1.94 for 24 to 64 layers."""


def graphs(deployment: Deployment, *, by_layers: bool) -> Band:
    """Memory of captured CUDA graphs, or the engine's estimate of it; 0 in eager mode.

    72 logs: median 0.53 GiB, nine in ten below 2.7.

    Args:
        deployment: what runs.
        by_layers: the version estimates graphs beforehand, which grows with the layers.
    """
    if deployment.enforce_eager:
        return Band(0, 0, 0)
    if by_layers:
        low, value, high = (0.05 * GIB + gib * GIB * len(deployment.model.layers) for gib in GRAPH_GIB_A_LAYER)
        return Band(low, value, high)
    return Band(0.1 * GIB, 0.53 * GIB, 2.7 * GIB)
