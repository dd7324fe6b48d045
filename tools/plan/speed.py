"""Speed and waiting, as bands: decode from memory bandwidth, offload from PCIe, waking from measured rates.

Decoding one sequence reads every active weight and the sequence's cache once a token, so bandwidth bounds it; each
layer adds the time its kernels take one after the other.
"""

from __future__ import annotations

from tools.domain import Band, Footprint, Gpu, ModelSpec
from tools.units import GIB

DECODE_EFFICIENCY = (0.40, 0.60, 0.80)
"""Share of the card's memory bandwidth that single-sequence decoding reaches: assumed, stated with every figure.
Dense models on data-centre cards come near the upper end, mixtures of experts and many cards near the lower one."""

LAYER_S = (120e-6, 60e-6, 30e-6)
"""Seconds a layer takes however little it reads: its kernels run one after the other. Assumed; it is what keeps a small
active share (a mixture of experts, 4 bits) far from the bandwidth's bound."""

WITHOUT_NVLINK = 0.75
"""Further share that is left where ranks talk over PCIe: assumed."""

PCIE_BYTES_PER_S = (12e9, 24e9, 50e9)
"""What a card reads from pinned RAM: PCIe 4.0 x16 moves at most 31.5 GB/s one way, 5.0 x16 63 GB/s (PCI-SIG); a slot
with 8 lanes or PCIe 3.0 x16 about half of the former. Some 80 % of it is reached."""

WAKE_BYTES_PER_S = (3.75 * GIB, 10 * GIB, 20 * GIB)
"""Copying weights back at wake: measured 90 GiB in 24 s, and a 30B in 2.9 s (vLLM's sleep-mode article)."""

SLEEP_BYTES_PER_S = 3 * GIB
"""Copying weights to RAM at sleep level 1: measured 2.7-9.7 s for 8-28 GiB."""

SLEEP_RESIDUE_BYTES = round(2.3 * GIB)
"""What a sleeping engine still holds on the card: 1.2-2.3 GiB a process where it was told apart; the upper end."""


def active_weight_bytes(model: ModelSpec, weights_bytes: int) -> float:
    """Return the bytes of weights one token reads on one card.

    Args:
        model: its ``params_active`` tells a mixture of experts.
        weights_bytes: what a card holds of the model.
    """
    if not model.params_active or model.params_active >= model.params_total:
        return float(weights_bytes)
    return weights_bytes * model.params_active / model.params_total


def decode_tokens_per_s(footprint: Footprint, gpu: Gpu) -> Band | None:
    """Estimate single-sequence decoding at half of the context; None where the card's bandwidth is not known.

    Weights in RAM are read over PCIe each token: GiB offloaded x 1/bandwidth on top of what the card itself reads. Of a
    mixture of experts only the active share is; the low end has all of it read, as a batch of requests comes to. A
    token passes pipeline stages one after the other.
    """
    if not gpu.bandwidth_bytes_per_s:
        return None
    deployment = footprint.deployment
    share = active_weight_bytes(deployment.model, footprint.parameter_bytes) / max(1, footprint.parameter_bytes)
    offloaded = min(deployment.cpu_offload_bytes, footprint.parameter_bytes)
    on_card = (footprint.parameter_bytes - offloaded) * share + _cache_read(footprint)
    bandwidth = gpu.bandwidth_bytes_per_s * (1.0 if deployment.tp == 1 or gpu.nvlink else WITHOUT_NVLINK)
    layers = len(deployment.model.layers)
    seconds = [
        deployment.pp * (on_card / (bandwidth * efficiency) + offloaded * read / pcie) + layers * overhead
        for efficiency, read, pcie, overhead in zip(
            DECODE_EFFICIENCY, (1.0, share, share), PCIE_BYTES_PER_S, LAYER_S, strict=True
        )
    ]
    return Band(*(round(1 / s, 1) for s in seconds))


def wake_seconds(woken_bytes: int, put_to_sleep_bytes: int) -> Band:
    """Estimate the wait for a sleeping model: the one awake is put to sleep, then the other's weights come back.

    Args:
        woken_bytes: weights of the model that wakes, on its fullest card.
        put_to_sleep_bytes: weights of the model that makes room, on its fullest card.
    """
    slow, usual, fast = (woken_bytes / rate for rate in WAKE_BYTES_PER_S)
    asleep = put_to_sleep_bytes / SLEEP_BYTES_PER_S
    return Band(round(fast + asleep * 0.8, 1), round(usual + asleep, 1), round(slow + asleep * 1.2, 1))


def _cache_read(footprint: Footprint) -> float:
    seqs = footprint.deployment.max_num_seqs or 1
    return footprint.kv_needed_bytes / seqs / 2
