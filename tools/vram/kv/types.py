"""Types of cached elements (``--kv-cache-dtype``) and what a head's key and value take in each.

Source: vLLM 0.32 ``config/cache.py`` (``CacheDType``) and each backend's ``customize_spec``: ``triton_attn.py`` (a
float32 scale a token and head), ``flashinfer.py`` with ``utils/torch_utils.py:nvfp4_kv_cache_full_dim``,
``layers/quantization/turboquant/config.py``.
"""

from __future__ import annotations

import math

from tools.errors import BadValue

ELEMENT_BYTES = {
    "bfloat16": 2,
    "float16": 2,
    "bf16": 2,
    "fp16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "fp8_inc": 1,
    "fp8_ds_mla": 1,
    "nvfp4_ds_mla": 1,
    "nvfp4": 1,
    "nvfp4_4over6": 1,
    "int8_per_token_head": 1,
    "fp8_per_token_head": 1,
    "int4_per_token_head": 1,
    "turboquant_k8v4": 1,
    "turboquant_4bit_nc": 1,
    "turboquant_k3v4_nc": 1,
    "turboquant_3bit_nc": 1,
}
"""Bytes of one stored element; ``auto`` follows the model's type. Packed types hold several values in an element."""

SCALE_BYTES = 4
"""A scale of a token and head, float32."""

_TURBOQUANT_BITS = {
    "turboquant_k8v4": (8, 4),
    "turboquant_4bit_nc": (4, 4),
    "turboquant_k3v4_nc": (3, 4),
    "turboquant_3bit_nc": (3, 3),
}
"""Bits of a key's and of a value's element; keys of 8 bits are fp8 without a norm."""


def element_bytes(dtype: str, width: int) -> int:
    """Bytes of one element of a cache type; ``auto`` is the model's.

    Args:
        dtype: as ``--kv-cache-dtype`` names it.
        width: bytes of an element of the model's type.

    Raises:
        BadValue: no such type.
    """
    size = width if dtype == "auto" else ELEMENT_BYTES.get(dtype)
    if size is None:
        allowed = ", ".join(("auto", *ELEMENT_BYTES))
        raise BadValue("errors_vram.bad_kv_dtype", value=dtype[:40], allowed=allowed)
    return size


def pair_bytes(dtype: str, key_dim: int, value_dim: int, size: int) -> int:
    """Bytes of one head's key and value of one token.

    Worked example: heads of 128 take 512 B in 16 bits, 256 in fp8, 264 with a scale a token and head, 144 in NVFP4.

    Args:
        dtype: the cache's type.
        key_dim: elements of a key.
        value_dim: elements of a value.
        size: bytes of an element.
    """
    if dtype.startswith("nvfp4"):
        return key_dim // 2 + key_dim // 16 + value_dim // 2 + value_dim // 16
    if dtype == "int4_per_token_head":
        return key_dim // 2 + value_dim // 2 + 2 * SCALE_BYTES
    if dtype.endswith("_per_token_head"):
        return key_dim + value_dim + 2 * SCALE_BYTES
    if dtype in _TURBOQUANT_BITS:
        return _turboquant_bytes(dtype, key_dim)
    return size * (key_dim + value_dim)


def _turboquant_bytes(dtype: str, head_dim: int) -> int:
    key_bits, value_bits = _TURBOQUANT_BITS[dtype]
    key = head_dim if key_bits == 8 else math.ceil(head_dim * key_bits / 8) + 2
    slot = key + math.ceil(head_dim * value_bits / 8) + 4
    return slot + slot % 2
