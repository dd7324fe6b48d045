"""Storage formats by the words people and repositories use for them, as ``Quantization``.

Where a catalogue line only says "fp8" or "awq", the publisher's convention decides (``of_repository``); the file's own
``quantization_config``, read from the hub, overrides it.
"""

from __future__ import annotations

import re

from tools.domain import Quantization
from tools.errors import BadValue

WORDS = (
    "bf16 fp16 fp32 fp8 fp8-online int8 w8a16 gptq-int4 gptq-int8 awq w4a16 nvfp4 mxfp4 mxfp8 bnb-4bit bnb-8bit "
    "exl2-<BPW> exl3-<BPW> mlx-4bit gguf-<TYPE> int4 any"
)
"""Every precision the command line knows, as its help and its error message show them."""

SIXTEEN_BIT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
IN_FLIGHT = {
    "fp8-online": Quantization("fp8_online", 8),
    "bnb-4bit": Quantization("bnb_nf4", 4, 64),
    "bnb-8bit": Quantization("bnb_int8", 8, -1),
}
"""Formats that vLLM makes itself from a 16-bit checkpoint while loading (vLLM 0.32, ``--quantization``)."""

FOUR_BIT = ("gptq-int4", "awq", "w4a16", "nvfp4", "mxfp4", "bnb-4bit")
"""4-bit words that vLLM loads, in the order in which ``int4`` prefers them among equals."""

_PLAIN = {
    "fp8": Quantization("fp8_block", 8, block=(128, 128)),
    "int8": Quantization("int8", 8, -1),
    "w8a16": Quantization("w8a16", 8, -1),
    "gptq-int4": Quantization("gptq", 4, 128),
    "gptq-int8": Quantization("gptq", 8, 128),
    "awq": Quantization("awq", 4, 128, symmetric=False),
    "w4a16": Quantization("w4a16", 4, 128),
    "nvfp4": Quantization("nvfp4", 4, 16),
    "mxfp4": Quantization("mxfp4", 4, 32),
    "mxfp8": Quantization("mxfp8", 8, 32),
}
"""Defaults of the tools that write these formats: AutoGPTQ/GPTQModel and AutoAWQ group 128 (AWQ with zero points),
llm-compressor's W4A16 preset group 128 symmetric, NVFP4 blocks of 16, OCP microscaling blocks of 32, FP8 blocks of
128 x 128 (DeepSeek-V3 and Qwen3 releases)."""

GGUF_BITS = {
    "IQ1_S": 1.56, "IQ1_M": 1.75, "IQ2_XXS": 2.06, "IQ2_XS": 2.31, "IQ2_S": 2.5, "IQ2_M": 2.7, "Q2_K": 2.96,
    "Q2_K_S": 2.8, "IQ3_XXS": 3.06, "IQ3_XS": 3.3, "IQ3_S": 3.44, "IQ3_M": 3.66, "Q3_K_S": 3.41, "Q3_K_M": 3.91,
    "Q3_K_L": 4.27, "Q3_K": 3.91, "IQ4_XS": 4.25, "IQ4_NL": 4.5, "Q4_0": 4.55, "Q4_1": 5.0, "Q4_K_S": 4.58,
    "Q4_K_M": 4.85, "Q4_K": 4.85, "Q5_0": 5.54, "Q5_1": 6.0, "Q5_K_S": 5.54, "Q5_K_M": 5.69, "Q5_K": 5.69,
    "Q6_K": 6.59, "Q8_0": 8.5, "MXFP4": 4.25, "BF16": 16.0, "F16": 16.0, "F32": 32.0,
}  # fmt: skip
"""Mean bits a weight of a whole GGUF file (llama.cpp ``examples/quantize/README.md``, Llama-3.1-8B; single block types
from ``ggml-common.h``: Q8_0 is 34 bytes for 32 weights = 8.5)."""

_EXL = re.compile(r"exl([23])-(\d+(?:\.\d+)?)(?:bpw)?")
_MLX = re.compile(r"mlx-([2-8])bit")


def precision_word(text: str) -> str:
    """Return the canonical form of a precision word.

    Args:
        text: as written, any case: ``FP8``, ``gguf-q4_k_m``, ``exl2-4.0bpw``.

    Raises:
        BadValue: not a word the command line knows (``errors_specs.unknown_precision`` lists them).
    """
    word = text.strip().lower()
    if word in _PLAIN or word in SIXTEEN_BIT or word in IN_FLIGHT or word in {"int4", "any"} or _MLX.fullmatch(word):
        return word
    exl = _EXL.fullmatch(word)
    if exl and 1.0 <= float(exl.group(2)) <= 8.0:
        return f"exl{exl.group(1)}-{float(exl.group(2)):g}"
    if word.startswith("gguf-"):
        kind = word.removeprefix("gguf-").removeprefix("ud-").upper()
        stem = kind.removesuffix("_XL") if kind.endswith("_XL") else kind
        if kind in GGUF_BITS or stem in GGUF_BITS:
            return "gguf-" + kind
    raise BadValue("errors_specs.unknown_precision", value=text[:60], allowed=WORDS)


def by_word(word: str) -> Quantization:
    """Return the usual layout of a canonical precision word (16-bit words give the unquantised one)."""
    if word in _PLAIN:
        return _PLAIN[word]
    if word in IN_FLIGHT:
        return IN_FLIGHT[word]
    if word.startswith("gguf-"):
        kind = word.removeprefix("gguf-")
        bits = GGUF_BITS.get(kind) or GGUF_BITS[kind.removesuffix("_XL")]
        return Quantization("gguf", bits, None, excluded=(), extra={"type": kind})
    exl = _EXL.fullmatch(word)
    if exl:
        return Quantization("exl" + exl.group(1), float(exl.group(2)), None)
    mlx = _MLX.fullmatch(word)
    if mlx:
        return Quantization("mlx", int(mlx.group(1)), 64)
    return Quantization()


_CATALOGUE: dict[tuple[str, int | None], str] = {
    ("fp8", 8): "fp8", ("awq", 4): "awq", ("awq", 8): "w8a16", ("bnb-4bit", 4): "bnb-4bit", ("nvfp4", 4): "nvfp4",
    ("gptq", 4): "gptq-int4", ("gptq", 8): "gptq-int8", ("w4a16", 4): "w4a16", ("mxfp4", 4): "mxfp4",
    ("w8a8-int8", 8): "int8", ("int8", 8): "int8", ("autoround", 4): "w4a16", ("mxfp8", 8): "mxfp8",
    ("int4", 4): "w4a16", ("w8a16", 8): "w8a16", ("gptq", None): "gptq-int4", ("nvfp4-pack-quantized", None): "nvfp4",
}  # fmt: skip
"""A catalogue line's (format, bits) as a precision word."""

_PACKERS = frozenset({"cyankiwi", "cpatonn"})
"""Publishers whose "-AWQ-4bit" repositories are compressed-tensors files (symmetric, groups of 32), not AutoAWQ's."""


def of_repository(repo: str, kind: str | None, bits: int | None) -> tuple[str, Quantization] | None:
    """Tell the precision word and layout of a published quantised repository.

    Args:
        repo: hub id.
        kind: the format as a catalogue line says it (``fp8``, ``awq``, ``mlx``...).
        bits: bits a weight, where the line says.

    Returns:
        None where the line does not say enough to tell.
    """
    org, _, name = repo.partition("/")
    if kind == "mlx":
        return (f"mlx-{bits}bit", Quantization("mlx", bits, 64)) if bits else None
    word = _CATALOGUE.get((kind or "", bits))
    if word is None or "mlx" in name.lower():
        return None
    if kind == "awq" and org in _PACKERS:
        return ("w4a16", Quantization("w4a16", 4, 32)) if bits == 4 else ("w8a16", Quantization("w8a16", 8, 32))
    if word == "fp8":
        return word, _fp8(org, name.lower())
    if word == "bnb-4bit":
        dynamic = {"dynamic": True} if "unsloth-bnb" in name.lower() or "dynamic" in name.lower() else {}
        return word, Quantization("bnb_nf4", 4, 64, extra=dynamic)
    return word, _PLAIN[word]


_BLOCK_PUBLISHERS = frozenset({"qwen", "deepseek-ai", "minimaxai", "xiaomimimo", "moonshotai"})


def _fp8(org: str, name: str) -> Quantization:
    """``-FP8-dynamic`` and GLM's are per channel, ``-FP8-block`` and Qwen's in blocks, others one scale a tensor.

    Sources: llm-compressor's FP8_DYNAMIC, FP8_BLOCK and FP8 presets; the named publishers' model cards.
    """
    if "dynamic" in name or org.lower() == "zai-org":
        return Quantization("fp8_channel", 8, -1)
    if "block" in name or org.lower() in _BLOCK_PUBLISHERS:
        return Quantization("fp8_block", 8, block=(128, 128))
    return Quantization("fp8_tensor", 8)


def from_repository_name(repo: str, words: tuple[str, ...]) -> tuple[str, Quantization] | None:
    """Guess the format of a repository that the catalogue does not list from the words of its name."""
    joined = "-".join(words)
    bits = 8 if re.search(r"8-?bit|int8|w8|q8", joined) else 4
    order = (
        "nvfp4",
        "mxfp4",
        "mxfp8",
        "gptq",
        "awq",
        "mlx",
        "autoround",
        "w4a16",
        "w8a16",
        "fp8",
        "int8",
        "int4",
        "bnb",
    )
    for kind in order:
        if kind in joined:
            known = {"bnb": "bnb-4bit", "mxfp8": "mxfp8"}.get(kind, kind)
            return of_repository(repo, known, 8 if kind in {"fp8", "int8", "w8a16", "mxfp8"} else bits)
    if "w8a8" in joined:
        return of_repository(repo, "w8a8-int8", 8)
    return None
