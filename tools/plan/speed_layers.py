"""Speed of engines that place whole layers: cards compute theirs one after the other, the processor those in RAM."""

from __future__ import annotations

from tools.domain import Band, Footprint, Gpu, Layer, ModelSpec, MoeMlp
from tools.plan.speed import DECODE_EFFICIENCY, LAYER_S, MOE_LAYER_S
from tools.vram.engines.llamacpp import file_parts

RAM_BYTES_PER_S = (20e9, 45e9, 180e9)
"""What a processor reads of RAM while it computes: two channels of DDR4-3200 move 51 GB/s, of DDR5-5600 90, eight of
DDR5-4800 307 (JEDEC), of which some 60 % is reached. The RAM of the machine is not asked for, so the band is wide."""

MICROBATCH = 512
"""Tokens of a prompt that llama.cpp computes at once (``-ub``); a card reads weights in RAM anew for each."""


def decode_by_layers(footprint: Footprint, gpu: Gpu, sequences: int) -> Band | None:
    """Estimate how many tokens ``sequences`` sequences together get a second; None where bandwidth is not known.

    A token passes all layers in order, so cards add up their times as if it were one card; layers, or experts, that are
    in RAM are read at its pace. Worked example: Qwen3-30B-A3B in Q4_K_M on an RTX 3090, one sequence: of 17.1 GiB some
    1.8 GiB are read a token, and 0.4 of cache: 3.3 ms of 936 GB/s at 75 %, and 48 layers of 100 us: 123 tokens/s.

    Args:
        footprint: the instance.
        gpu: one of its cards; of unequal ones the slowest tells.
        sequences: that share a step.
    """
    if not gpu.bandwidth_bytes_per_s:
        return None
    deployment = footprint.deployment
    read = _read_of_file if deployment.checkpoint.quantization.method == "gguf" else _read_of_cards
    usual, unlucky = read(footprint, sequences), read(footprint, 2 * sequences)
    cache = sequences * footprint.kv_needed_bytes * deployment.pp / (deployment.max_num_seqs or 1) / 2
    layers = deployment.model.layers
    sparse = sum(isinstance(layer.mlp, MoeMlp) for layer in layers)
    seconds: list[float] = []
    for index, efficiency in enumerate(DECODE_EFFICIENCY):
        card, ram = unlucky if index == 0 else usual
        kernels = sparse * MOE_LAYER_S[index] + (len(layers) - sparse) * LAYER_S[index]
        pace = gpu.bandwidth_bytes_per_s * efficiency
        seconds.append((card + cache) / pace + ram / RAM_BYTES_PER_S[index] + kernels)
    return Band(*(round(sequences / s, 1) for s in seconds))


def ram_bytes(footprint: Footprint) -> int:
    """Bytes of a GGUF file's layers and experts that stay in RAM."""
    parts, first = file_parts(footprint.deployment), _first_on_cards(footprint)
    apart = sum(parts.experts[first : footprint.deployment.options.experts_in_ram])
    return sum(parts.layers[:first]) + apart


def _first_on_cards(footprint: Footprint) -> int:
    deployment = footprint.deployment
    wanted = deployment.options.gpu_layers
    return 0 if wanted is None else max(0, len(deployment.model.layers) + 1 - wanted)


def _read_of_file(footprint: Footprint, sequences: int) -> tuple[float, float]:
    """Bytes a step reads on cards and in RAM: of experts those that the sequences chose, of the table a row each."""
    deployment = footprint.deployment
    model, parts, first = deployment.model, file_parts(deployment), _first_on_cards(footprint)
    card, ram = float(parts.output + (parts.table if model.tied_embeddings else 0)), 0.0
    for index, layer in enumerate(model.layers):
        experts = parts.experts[index] * _chosen(layer, sequences)
        rest = parts.layers[index] - parts.experts[index]
        if index < first:
            ram += rest + experts
        elif index < deployment.options.experts_in_ram:
            card, ram = card + rest, ram + experts
        else:
            card += rest + experts
    return card, ram


def _read_of_cards(footprint: Footprint, sequences: int) -> tuple[float, float]:
    """The same where all is on cards: everything but the table and the experts that nobody chose."""
    deployment = footprint.deployment
    model, held = deployment.model, footprint.parameter_bytes * deployment.pp
    bits = deployment.checkpoint.quantization.bits
    table = 0 if model.tied_embeddings else 2 * model.vocab_size * model.hidden_size
    missed = sum(_expert_elements(layer, model) * (1 - _chosen(layer, sequences)) for layer in model.layers)
    return max(0.1 * held, held - table - missed * bits / 8), 0.0


def _expert_elements(layer: Layer, model: ModelSpec) -> int:
    return 3 * model.hidden_size * layer.mlp.intermediate * layer.mlp.experts if isinstance(layer.mlp, MoeMlp) else 0


def _chosen(layer: Layer, sequences: int) -> float:
    """Share of a layer's experts that so many sequences choose on the mean."""
    if not isinstance(layer.mlp, MoeMlp):
        return 1.0
    return 1 - (1 - layer.mlp.active / layer.mlp.experts) ** sequences
