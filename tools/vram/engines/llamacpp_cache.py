"""llama.cpp's caches on one card: cells by type, smaller ones for sliding windows, latents, recurrent states.

Facts from ``src/llama-kv-cache.cpp`` (a row a cell of keys and of values, a stream a sequence unless unified),
``src/llama-kv-cache-iswa.cpp`` (two caches), ``src/llama-context.cpp`` (padding) and ``src/llama-hparams.cpp``
(``n_embd_r``, ``n_embd_s``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from tools.domain import Attention, Deployment, LinearAttention, Mamba, Mixer, MlaAttention, ShortConv
from tools.errors import BadValue, NotYetExact
from tools.vram.gguf import TYPES

PADDING, PADDING_OF_SCORES = 256, 32
"""Cells of a cache are a multiple of the first; of the second where builds before ``FLASH_SINCE`` hold all scores."""

FLASH_SINCE = 6_330
"""From this build on flash attention is used where it can be (pull request 15434); before, only if asked for."""

LATENTS_SINCE = 5_300
"""Build from which latent attention caches latents; before, every head's keys and values."""

WINDOWS_SINCE = 5_430
"""Build from which layers with a sliding window have a cache of their own (pull request 13194)."""

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
"""What ``-ctk`` and ``-ctv`` take."""

_WORDS = {"auto": "f16", "float16": "f16", "fp16": "f16", "bfloat16": "bf16", "q8": "q8_0", "q4": "q4_0", "q5": "q5_0"}


@dataclass(frozen=True, slots=True)
class Cache:
    """The caches of one card.

    Attributes:
        bytes: allocated on the card.
        cells: tokens it keeps in all, of layers that keep every token.
        token_bytes: a token, on this card; None where layers of several kinds make it no constant.
        cells_seen: cells of one stream that a batch attends to.
        window_cells: the same for layers with a sliding window; 0 = none.
    """

    bytes: int
    cells: int
    token_bytes: int | None
    cells_seen: int
    window_cells: int


def uses_flash(deployment: Deployment, build: int) -> bool:
    """Tell whether attention runs without holding all scores: as asked, else by build."""
    asked = deployment.options.flash_attention
    return build >= FLASH_SINCE if asked is None else asked


def padding_of(deployment: Deployment, build: int) -> int:
    """Cells that a cache's size is a multiple of."""
    return PADDING if build >= FLASH_SINCE or uses_flash(deployment, build) else PADDING_OF_SCORES


def _up(tokens: int, unit: int) -> int:
    return -(-tokens // unit) * unit


def row_bytes(elements: int, kind: str) -> int:
    """Bytes of a row of cached elements.

    Worked example: 1,024 elements are 2,048 B in f16 and 1,088 in q8_0 (34 B for 32 elements).

    Raises:
        BadValue: no such type of cache.
    """
    name = _WORDS.get(kind.lower(), kind.lower())
    if name not in CACHE_TYPES:
        raise BadValue("errors_vram.bad_kv_dtype", value=kind[:40], allowed=", ".join(CACHE_TYPES))
    size, weights = TYPES[name.upper()]
    return -(-elements // weights) * size


STREAMS_SINCE = 5_900
"""From about this build on each sequence has cells of its own unless asked otherwise (pull request 14363)."""


def is_unified(deployment: Deployment, build: int) -> bool:
    """Tell whether all sequences share one buffer of cells: as asked, else in older builds or with one sequence."""
    if build < STREAMS_SINCE:
        return True
    return deployment.options.unified if deployment.options.unified is not None else deployment.max_num_seqs == 1


def streams_of(deployment: Deployment, build: int) -> tuple[int, int]:
    """Streams of the cache and cells of each.

    Args:
        deployment: its ``max_model_len`` and ``max_num_seqs`` are set.
        build: of llama.cpp.
    """
    unit = padding_of(deployment, build)
    length, users = deployment.max_model_len or 1, deployment.max_num_seqs or 1
    total = deployment.options.context_total or length * users
    return (1, _up(total, unit)) if is_unified(deployment, build) else (users, _up(_up(total, unit) // users, unit))


def window_cells(deployment: Deployment, window: int, build: int) -> int:
    """Cells of one stream of a sliding window's cache: the window and a microbatch, never more than all.

    Worked example: a window of 512 with a microbatch of 512: 1,024 cells a sequence; four unified: 2,560.
    """
    streams, cells = streams_of(deployment, build)
    if deployment.options.full_windows or build < WINDOWS_SINCE:
        return cells
    together = (deployment.max_num_seqs or 1) if streams == 1 else 1
    return min(
        cells, _up(window * together + (deployment.max_num_batched_tokens or 512), padding_of(deployment, build))
    )


def cache_of(deployment: Deployment, layers: tuple[int, ...], build: int) -> Cache:
    """Sum the caches of some layers.

    Worked example: Llama-3.2-3B, 28 layers with 8 heads of 128 in f16: 114,688 B a token, 4,389 MiB for 40,128.

    Raises:
        NotYetExact: what llama.cpp caches of a layer is not known.
        BadValue: a cache type is not known.
    """
    streams, cells = streams_of(deployment, build)
    every = deployment.model.layers
    total, per_token, several, windowed = 0, 0, False, 0
    for group, times in Counter(id(every[index]) for index in layers).items():
        layer = next(every[index] for index in layers if id(every[index]) == group)
        for mixer in layer.mixers:
            one = _of_mixer(mixer, deployment, cells, build)
            total += times * (one.token * one.cells * streams + 4 * one.state * (deployment.max_num_seqs or 1))
            per_token += times * one.token
            windowed = max(windowed, one.cells if one.cells < cells else 0)
            several = several or bool(one.state) or one.cells < cells
    in_ram = deployment.options.cache_in_ram
    return Cache(0 if in_ram else total, cells * streams, None if several else per_token, cells, windowed)


class _OfMixer(NamedTuple):
    """Bytes of a token, cells of a stream that are kept, elements of a state."""

    token: int
    cells: int
    state: int


def _of_mixer(mixer: Mixer, deployment: Deployment, cells: int, build: int) -> _OfMixer:
    state = state_elements(mixer)
    kinds = (deployment.kv_dtype, deployment.options.value_dtype or deployment.kv_dtype)
    window = mixer.window or mixer.chunk if isinstance(mixer, Attention) else None
    kept = window_cells(deployment, window, build) if window else cells
    return _OfMixer(0 if state else _token_bytes(mixer, kinds, build), kept, state)


def state_elements(mixer: Mixer) -> int:
    """Elements, in float32, of a sequence's state; 0 where a mixer caches tokens.

    Worked example: Mamba-1 of 8,192 channels with 16 of state and a kernel of 4: 3 x 8,192 + 16 x 8,192.
    """
    if isinstance(mixer, Mamba):
        channels = mixer.intermediate + (2 * mixer.groups * mixer.state if mixer.version == 2 else 0)
        return (mixer.conv_kernel - 1) * channels + mixer.state * mixer.intermediate
    if isinstance(mixer, LinearAttention):
        values = mixer.value_heads * mixer.value_head_dim
        channels = 2 * mixer.key_heads * mixer.key_head_dim + values
        return max(0, mixer.conv_kernel - 1) * channels + values * mixer.key_head_dim
    return (mixer.kernel - 1) * mixer.width if isinstance(mixer, ShortConv) else 0


def _token_bytes(mixer: Mixer, kinds: tuple[str, str], build: int) -> int:
    """Bytes of a token in one layer's cache."""
    keys, values = kinds
    if isinstance(mixer, Attention):
        if mixer.shares_kv:
            return 0
        value_dim = mixer.v_head_dim or mixer.head_dim
        return row_bytes(mixer.kv_heads * mixer.head_dim, keys) + row_bytes(mixer.kv_heads * value_dim, values)
    if isinstance(mixer, MlaAttention) and mixer.indexer is None and not mixer.sparse:
        if build >= LATENTS_SINCE and not mixer.expanded:
            return row_bytes(mixer.kv_lora_rank + mixer.rope_head_dim, keys)
        head = mixer.nope_head_dim + mixer.rope_head_dim
        return row_bytes(mixer.heads * head, keys) + row_bytes(mixer.heads * mixer.v_head_dim, values)
    raise NotYetExact("engines.cache_unknown", kind=type(mixer).__name__)
