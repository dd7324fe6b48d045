"""Speed as bands, from rooflines: decoding reads weights and cache, a prompt is computed, ranks talk to each other.

Decoding a token reads every weight it uses and the sequence's cache, so memory bandwidth bounds it; all sequences of a
step share one reading of the weights. A prompt's tokens are computed together, so arithmetic bounds it. Each layer
costs the time its kernels take one after the other, and with several ranks two exchanges. Worked examples:
``docs/speed.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.domain import Attention, Band, Deployment, Footprint, Gpu, MlaAttention, MoeMlp
from tools.plan.engines import engine
from tools.vram.loaded import is_by_size
from tools.vram.stages import fullest_layers, fullest_stage
from tools.vram.storage import matrix_bytes
from tools.vram.weights import element_bytes, matrices_of

DECODE_EFFICIENCY = (0.55, 0.75, 0.90)
"""Share of the card's memory bandwidth that decoding reaches. Published: Llama-3.1-8B in BF16 on an A100 40 GB with
vLLM 0.23, 75 tokens/s, 77 % of the bound (https://johnmusgrave.com/p/vllm-throughput-latency-sweep-on). Other models
and cards are assumed to lie about it."""

LAYER_S = (80e-6, 35e-6, 15e-6)
MOE_LAYER_S = (200e-6, 100e-6, 50e-6)
"""Seconds a layer takes however little it reads: its kernels run one after the other, and a mixture of experts has more
of them. Assumed; it keeps a small active share (a mixture of experts, 4 bits) far from the bandwidth's bound."""

PREFILL_EFFICIENCY = (0.25, 0.45, 0.70)
"""Share of the card's dense 16-bit arithmetic that a long prompt reaches: assumed. Fused attention and large matrices
come near the upper end, many small experts and weights unpacked on the way near the lower one."""

EXCHANGE_S = {True: (20e-6, 10e-6, 6e-6), False: (60e-6, 30e-6, 15e-6)}
"""Seconds of one all-reduce of a few kilobytes, with NVLink and over PCIe: assumed."""

LINK_BYTES_PER_S = {True: (100e9, 250e9, 400e9), False: (6e9, 12e9, 25e9)}
"""Bytes of a large all-reduce a second and rank: NVLink 3 moves 300 GB/s one way and NVLink 4 450 (NVIDIA); PCIe 4.0
x16 31.5 (PCI-SIG), of which an exchange through RAM reaches a part."""

PCIE_BYTES_PER_S = (12e9, 24e9, 50e9)
"""What a card reads from pinned RAM: PCIe 4.0 x16 moves at most 31.5 GB/s one way, 5.0 x16 63 GB/s (PCI-SIG); a slot
with 8 lanes or PCIe 3.0 x16 about half of the former. Some 80 % of it is reached."""

PASCAL_FP32 = 64
"""Cards of capability 6.1 compute in 32 bits so many times faster than in 16 (CUDA C programming guide, arithmetic
throughput: 128 to 2 a cycle); llama.cpp does so there."""

CHUNK_TOKENS = 2048
"""Tokens of a prompt computed in one step where the deployment says nothing (vLLM's default on most cards)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one instance does, each a band.

    Attributes:
        decode_tokens_per_s: of one sequence alone, at half of its context.
        throughput_tokens_per_s: of all its sequences together; None where there is only one.
        prefill_tokens_per_s: of a prompt of half the context; None where the card's arithmetic is not known.
        first_token_s: until the first token after such a prompt; None likewise.
    """

    decode_tokens_per_s: Band
    throughput_tokens_per_s: Band | None
    prefill_tokens_per_s: Band | None
    first_token_s: Band | None


def speed_of(footprint: Footprint, gpu: Gpu) -> Speed | None:
    """Estimate an instance's speed; None where the card's bandwidth is not known.

    Args:
        footprint: the instance.
        gpu: one of its cards (they are equal).
    """
    alone = decode_tokens_per_s(footprint, gpu)
    if alone is None:
        return None
    sequences = footprint.deployment.max_num_seqs or 1
    prefill = prefill_tokens_per_s(footprint, gpu)
    prompt = _half_context(footprint.deployment)
    first = prefill and Band(*(round(prompt / rate, 2) for rate in (prefill.high, prefill.value, prefill.low)))
    together = decode_tokens_per_s(footprint, gpu, sequences) if sequences > 1 else None
    return Speed(alone, together, prefill, first)


def decode_tokens_per_s(footprint: Footprint, gpu: Gpu, sequences: int = 1) -> Band | None:
    """Estimate how many tokens ``sequences`` sequences together get a second; None where bandwidth is not known.

    A mixture of experts reads the experts that the sequences chose: of ``E`` of which each takes ``k``, that is
    ``E x (1 - (1 - k/E)^sequences)`` on the mean; the low end reads as for twice as many. Weights in RAM come over
    PCIe. A token passes pipeline stages one after the other.
    """
    if not gpu.bandwidth_bytes_per_s:
        return None
    deployment = footprint.deployment
    if engine(deployment.engine).family == "layers":
        from tools.plan.speed_layers import decode_by_layers

        return decode_by_layers(footprint, gpu, sequences)
    cache = sequences * _cache_read(footprint)
    exchanges = 2 * len(deployment.model.layers) if deployment.tp > 1 else 0
    message = 2 * sequences * deployment.model.hidden_size
    chosen = _read_bytes(deployment, footprint.parameter_bytes, sequences)
    unlucky = _read_bytes(deployment, footprint.parameter_bytes, 2 * sequences)
    seconds: list[float] = []
    for index, efficiency in enumerate(DECODE_EFFICIENCY):
        read = unlucky if index == 0 else chosen
        outside = _offloaded_share(footprint) * read
        stage = (read - outside + cache) / (gpu.bandwidth_bytes_per_s * efficiency) + outside / PCIE_BYTES_PER_S[index]
        talk = exchanges * (EXCHANGE_S[gpu.nvlink][index] + _exchange_s(message, deployment.tp, gpu, index))
        seconds.append(deployment.pp * stage + _layers_s(deployment, index) + talk)
    return Band(*(round(sequences / s, 1) for s in seconds))


def prefill_tokens_per_s(footprint: Footprint, gpu: Gpu) -> Band | None:
    """Estimate how fast a prompt of half the context is read; None where the card's arithmetic is not known.

    Two operations a weight and token, and ``4 x heads x head size x context`` of attention a token (half of it on the
    mean, as a token sees what is before it), shared among the ranks; FP8 and FP4 weights with activations of the same
    type run at the card's higher rate. Weights in RAM come over PCIe once a chunk.
    """
    if not gpu.fp16_flops:
        return None
    deployment = footprint.deployment
    tokens = _half_context(deployment)
    operations = tokens * operations_a_token(deployment, tokens / 2)
    peak = gpu.fp16_flops * _faster(deployment, gpu) * deployment.tp
    exchanges = 2 * len(deployment.model.layers) if deployment.tp > 1 else 0
    outside, chunk = footprint.parameter_bytes * _offloaded_share(footprint), CHUNK_TOKENS
    if deployment.checkpoint.quantization.method == "gguf":
        from tools.plan.speed_layers import MICROBATCH, ram_bytes

        outside, chunk = ram_bytes(footprint), MICROBATCH
    chunks = math.ceil(tokens / (deployment.max_num_batched_tokens or chunk))
    rates: list[float] = []
    for index, efficiency in enumerate(PREFILL_EFFICIENCY):
        talk = exchanges * _exchange_s(2 * tokens * deployment.model.hidden_size, deployment.tp, gpu, index)
        fetched = chunks * outside / PCIE_BYTES_PER_S[index]
        rates.append(tokens / (operations / (peak * efficiency) + talk + fetched))
    return Band(*(max(1, round(rate)) for rate in rates))


def operations_a_token(deployment: Deployment, context: float) -> float:
    """Floating-point operations of one token with ``context`` tokens before it.

    Worked example: Qwen3-30B-A3B, 3.3e9 active parameters, at 4,096 tokens: 2 x 3.3e9 + 48 x 4 x 32 x 128 x 4,096 =
    9.8e9.
    """
    model = deployment.model
    weights = (model.params_active or model.params_total) - (0 if model.tied_embeddings else _table(deployment))
    attention = 0.0
    for layer in model.layers:
        for mixer in layer.mixers:
            if isinstance(mixer, Attention):
                seen = min(context, mixer.window or mixer.chunk or context)
                attention += 4 * mixer.heads * mixer.head_dim * seen
            elif isinstance(mixer, MlaAttention):
                attention += 2 * mixer.heads * (2 * mixer.kv_lora_rank + mixer.rope_head_dim) * context
    return 2 * max(0, weights) + attention


def _table(deployment: Deployment) -> int:
    """Parameters of the embedding table, of which a token reads one row."""
    return deployment.model.vocab_size * deployment.model.hidden_size


def _read_bytes(deployment: Deployment, held: int, sequences: int) -> float:
    """Bytes of weights one rank reads in a step: all but the embedding table, and of experts those that are chosen."""
    table = 0 if deployment.model.tied_embeddings else _table(deployment) * element_bytes(deployment.checkpoint.dtype)
    read = float(max(held // 2, held - table // (deployment.tp * deployment.pp)))
    experts, share = _experts(deployment, sequences)
    return read - experts * (1 - share)


def _experts(deployment: Deployment, sequences: int) -> tuple[float, float]:
    """Bytes of a rank's routed experts, and the share of them that a step reads."""
    mixtures = [layer.mlp for layer in fullest_layers(deployment.model, deployment.pp) if isinstance(layer.mlp, MoeMlp)]
    if not mixtures:
        return 0.0, 1.0
    quantization, width = deployment.checkpoint.quantization, element_bytes(deployment.checkpoint.dtype)
    stored = matrices_of(
        deployment.model, deployment.checkpoint, deployment.ranks, fullest_stage(deployment.model, deployment.pp)
    )
    sized = is_by_size(quantization)
    bits = quantization.bits / 8
    held = sum(
        times * (matrix.elements * bits if sized else matrix_bytes(matrix, stored_as, width))
        for matrix, stored_as, times in stored
        if matrix.experts
    )
    missed = (1 - mixtures[0].active / mixtures[0].experts) ** sequences
    return float(held), 1 - missed


def _layers_s(deployment: Deployment, index: int) -> float:
    """Seconds all layers take for their kernels alone."""
    sparse = sum(isinstance(layer.mlp, MoeMlp) for layer in deployment.model.layers)
    return sparse * MOE_LAYER_S[index] + (len(deployment.model.layers) - sparse) * LAYER_S[index]


def _offloaded_share(footprint: Footprint) -> float:
    held = footprint.parameter_bytes
    return min(footprint.deployment.cpu_offload_bytes, held) / max(1, held)


def _exchange_s(message: float, ranks: int, gpu: Gpu, index: int) -> float:
    """Seconds an all-reduce of ``message`` bytes moves them: a ring sends each ``2 (ranks - 1) / ranks`` times."""
    return message * 2 * (ranks - 1) / ranks / LINK_BYTES_PER_S[gpu.nvlink][index]


def _faster(deployment: Deployment, gpu: Gpu) -> int:
    """How much faster than 16-bit arithmetic the checkpoint's own type runs on the card."""
    method = deployment.checkpoint.quantization.method
    if method == "gguf" and gpu.compute_capability == "6.1":
        return PASCAL_FP32
    if method.startswith(("fp8", "mxfp8")) and gpu.fp8:
        return 2
    return 4 if method == "nvfp4" and gpu.fp4 else 1


def _half_context(deployment: Deployment) -> int:
    return max(1, (deployment.max_model_len or deployment.model.max_context) // 2)


def _cache_read(footprint: Footprint) -> float:
    """Bytes of cache a step reads for one sequence that is half full."""
    return footprint.kv_needed_bytes / (footprint.deployment.max_num_seqs or 1) / 2
