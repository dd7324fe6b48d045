"""Storage formats by the words people and repositories use for them, as ``Quantization``.

A repository's name tells its format and its writer's habit the layout (``from_repository_name``); the file's own
``quantization_config``, from the catalogue or the hub, overrides it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tools.domain import Quantization
from tools.errors import BadValue
from tools.specs.habits import usual

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
        return usual(_PLAIN[word])
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


_PACKERS = frozenset({"cyankiwi", "cpatonn"})
"""Publishers whose "-AWQ-4bit" repositories are compressed-tensors files (symmetric, groups of 32), not AutoAWQ's."""

_BLOCK_PUBLISHERS = frozenset({"qwen", "deepseek-ai", "minimaxai", "xiaomimimo", "moonshotai", "zai-org", "stepfun-ai"})

_GROUP = re.compile(r"\bgs?(32|64|128|256)\b")
_EIGHT = re.compile(r"\b8-?bits?\b|int-?8|w8|\bq8")
_BITS = re.compile(r"\b([2-8])-?bits?\b|\bint([2-8])\b")
_BPW = re.compile(r"(\d(?:\.\d+)?)-?bpw")
_GGUF_TYPE = re.compile(r"(?:ud-)?(?:i?q\d[a-z0-9_]*|mxfp4|bf16|f16|f32)")
DEFAULT_GGUF = "Q4_K_M"
"""The type that ``llama.cpp -hf`` fetches of a repository where none is said."""


def from_repository_name(repo: str, words: tuple[str, ...]) -> tuple[str, Quantization] | None:
    """Tell the format of a repository from its name, with what its writer usually leaves alone.

    Args:
        repo: hub id.
        words: the words of its name that tell a format (``Name.quant``).

    Returns:
        (precision word, layout), or None where the name tells of 16-bit weights.

    Example:
        ``RedHatAI/Qwen3-8B-quantized.w4a16`` is ``w4a16`` in groups of 128.
    """
    said = "-".join(words).lower()
    for kind in _KINDS:
        if kind in said or (kind == "mlx" and repo.startswith(("mlx-community/", "lmstudio-community/"))):
            found = _KINDS[kind](repo, said)
            if found is not None:
                return found[0], usual(found[1], repo)
    return None


def _plain(word: str) -> Callable[[str, str], tuple[str, Quantization]]:
    return lambda _repo, _said: (word, _PLAIN[word])


def _group(said: str, usual_size: int) -> int:
    found = _GROUP.search(said)
    return int(found.group(1)) if found else usual_size


def _mlx(repo: str, said: str) -> tuple[str, Quantization] | None:
    found = _BITS.search(said)
    bits = int(found.group(1) or found.group(2)) if found else None
    return (f"mlx-{bits}bit", Quantization("mlx", bits, 64)) if bits else None


def _gguf(repo: str, said: str) -> tuple[str, Quantization]:
    found = _GGUF_TYPE.search(said.replace("gguf", ""))
    word = "gguf-" + (found.group().removeprefix("ud-").upper() if found else DEFAULT_GGUF)
    try:
        return word, by_word(precision_word(word))
    except BadValue:
        return _gguf(repo, "")


def _exl(repo: str, said: str) -> tuple[str, Quantization]:
    """The mean bits stand in the name, dot and all; 4 where it says none."""
    found, generation = _BPW.search(repo.lower()), "3" if "exl3" in said else "2"
    word = f"exl{generation}-{float(found.group(1)) if found else 4:g}"
    return word, by_word(word)


def _gptq(repo: str, said: str) -> tuple[str, Quantization]:
    if "w4a16" in said or "w8a16" in said or "w8a8" in said:
        return _integer(repo, said)
    bits = 8 if _EIGHT.search(said) and "int4" not in said and "4bit" not in said else 4
    return f"gptq-int{bits}", replace(_PLAIN[f"gptq-int{bits}"], group_size=_group(said, 128))


def _awq(repo: str, said: str) -> tuple[str, Quantization]:
    packed = repo.split("/")[0].lower() in _PACKERS
    if packed or "w4a16" in said or _EIGHT.search(said):
        word = "w8a16" if _EIGHT.search(said) else "w4a16"
        return word, replace(_PLAIN[word], group_size=_group(said, 32 if packed else 128))
    return "awq", replace(_PLAIN["awq"], group_size=_group(said, 128))


def _integer(repo: str, said: str) -> tuple[str, Quantization]:
    """Integers by llm-compressor or AutoRound: w8a8, w8a16, else four bits in groups."""
    if "w8a8" in said or ("int8" in said and "w8a16" not in said and "int4" not in said):
        return "int8", _PLAIN["int8"]
    if "w8a16" in said:
        return "w8a16", _PLAIN["w8a16"]
    return "w4a16", replace(_PLAIN["w4a16"], group_size=_group(said, 128))


def _fp8(repo: str, said: str) -> tuple[str, Quantization]:
    """``-FP8-dynamic`` is per channel, ``-FP8-block`` and the named publishers' in blocks, others a scale a tensor.

    Sources: llm-compressor's FP8_DYNAMIC, FP8_BLOCK and FP8 presets; the publishers' literal configs.
    """
    if "dynamic" in said:
        return "fp8", Quantization("fp8_channel", 8, -1)
    if "block" in said or repo.split("/")[0].lower() in _BLOCK_PUBLISHERS:
        return "fp8", Quantization("fp8_block", 8, block=(128, 128))
    return "fp8", Quantization("fp8_tensor", 8)


def _bitsandbytes(repo: str, said: str) -> tuple[str, Quantization]:
    if _EIGHT.search(said):
        return "bnb-8bit", IN_FLIGHT["bnb-8bit"]
    extra = {"dynamic": True} if "unsloth-bnb" in repo.lower() or "dynamic" in said else {}
    if repo.lower().startswith("unsloth/"):
        extra["double"] = True
    return "bnb-4bit", Quantization("bnb_nf4", 4, 64, extra=extra)


_KINDS: dict[str, Callable[[str, str], tuple[str, Quantization] | None]] = {
    "mlx": _mlx, "gguf": _gguf, "exl": _exl, "nvfp4": _plain("nvfp4"), "mxfp4": _plain("mxfp4"),
    "mxfp8": _plain("mxfp8"), "gptq": _gptq, "awq": _awq, "bnb": _bitsandbytes, "autoround": _integer,
    "w4a16": _integer, "w8a16": _integer, "w8a8": lambda repo, said: (_fp8 if "fp8" in said else _integer)(repo, said),
    "fp8": _fp8, "int8": _integer, "int4": _integer, "nf4": _bitsandbytes, "8bit": _bitsandbytes, "4bit": _bitsandbytes,
    "fp4": _plain("nvfp4"),
}  # fmt: skip
"""Words of a name by what they tell, the surest first."""
