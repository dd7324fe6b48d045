"""Speed of llama.cpp and its kin: cards compute their layers one after the other, the processor those in RAM."""

from __future__ import annotations

from tools.domain import Band, Footprint, Gpu, MoeMlp
from tools.plan.speed import DECODE_EFFICIENCY, LAYER_S, MOE_LAYER_S
from tools.vram.engines.by_card import as_llamacpp
from tools.vram.engines.llamacpp import file_parts

RAM_BYTES_PER_S = (20e9, 45e9, 180e9)
"""What a processor reads of RAM while it computes: two channels of DDR4-3200 move 51 GB/s, of DDR5-5600 90, eight of
DDR5-4800 307 (JEDEC), of which some 60 % is reached. The RAM of the machine is not asked for, so the band is wide."""


def decode_by_layers(footprint: Footprint, gpu: Gpu, sequences: int) -> Band | None:
    """Estimate how many tokens ``sequences`` sequences together get a second; None where bandwidth is not known.

    A token passes all layers in order, so cards add up their times as if it were one card; layers, or experts, that are
    in RAM are read at its pace. Worked example: Qwen3-30B-A3B in Q4_K_M on an RTX 3090, one sequence: of 17.1 GiB some
    1.8 GiB are read a token, 2.7 ms of 936 GB/s at 75 %, and 48 layers of 100 us: 130 tokens/s.

    Args:
        footprint: the instance.
        gpu: one of its cards; of unequal ones the slowest tells.
        sequences: that share a step.
    """
    if not gpu.bandwidth_bytes_per_s:
        return None
    deployment = as_llamacpp(footprint.deployment, gpu) or footprint.deployment
    on_cards, in_ram = _read(footprint, sequences)
    unlucky = _read(footprint, 2 * sequences)
    cache = sequences * footprint.kv_needed_bytes * deployment.pp / (deployment.max_num_seqs or 1) / 2
    layers = deployment.model.layers
    sparse = sum(isinstance(layer.mlp, MoeMlp) for layer in layers)
    seconds: list[float] = []
    for index, efficiency in enumerate(DECODE_EFFICIENCY):
        card, ram = unlucky if index == 0 else (on_cards, in_ram)
        kernels = sparse * MOE_LAYER_S[index] + (len(layers) - sparse) * LAYER_S[index]
        pace = gpu.bandwidth_bytes_per_s * efficiency
        seconds.append((card + cache) / pace + ram / RAM_BYTES_PER_S[index] + kernels)
    return Band(*(round(sequences / s, 1) for s in seconds))


def _read(footprint: Footprint, sequences: int) -> tuple[float, float]:
    """Bytes a step reads on cards and in RAM: of experts those that the sequences chose, of the table a row each."""
    deployment = footprint.deployment
    model, options = deployment.model, deployment.options
    parts = file_parts(deployment)
    count = len(model.layers)
    first = 0 if options.gpu_layers is None else max(0, count + 1 - options.gpu_layers)
    card, ram = float(parts.output + (parts.table if model.tied_embeddings else 0)), 0.0
    for index, layer in enumerate(model.layers):
        experts = 0.0
        if isinstance(layer.mlp, MoeMlp):
            missed = (1 - layer.mlp.active / layer.mlp.experts) ** sequences
            experts = parts.experts[index] * (1 - missed)
        rest = parts.layers[index] - parts.experts[index]
        if index < first:
            ram += rest + experts
        elif index < options.experts_in_ram:
            card, ram = card + rest, ram + experts
        else:
            card += rest + experts
    return card, ram
