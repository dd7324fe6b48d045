"""From an asker's word for a precision ("4bit", "Q4_K_M", "full") to one of the command line's."""

from __future__ import annotations

import re

from tools.domain import ModelSpec, Note, note
from tools.errors import BadValue
from tools.plan.checkpoints import nearest_word
from tools.plan.engines import engine
from tools.plan.kernels import FORMATS
from tools.specs.checkpoints import checkpoints_for
from tools.specs.formats import precision_word

_NATIVE = frozenset(
    {
        "full",
        "fullprecision",
        "fullscale",
        "fullversion",
        "original",
        "native",
        "unquantized",
        "unquantised",
        "nonquantized",
        "noquant",
        "полная",
        "полной",
        "полный",
        "полнаяточность",
        "вполнойточности",
        "безквантования",
        "неквантованный",
    }
)
_ALIASES = {
    "gptq": "gptq-int4",
    "gptqint4": "gptq-int4",
    "gptqint8": "gptq-int8",
    "16bit": "bf16",
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "fp4": "int4",
    "nf4": "bnb-4bit",
    "bnb": "bnb-4bit",
    "bitsandbytes": "bnb-4bit",
    "quantized": "int4",
    "quantised": "int4",
    "quant": "int4",
    "квант": "int4",
}
_NUMBER = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)")
_QUANT = re.compile(r"i?q_?(\d)")


def settle_precision(model: ModelSpec, said: str | None, engine_name: str = "vllm") -> tuple[str, tuple[Note, ...]]:
    """Return the precision to plan a model with, and notes on how the word was understood.

    Args:
        model: decides what exists; a format nobody is known to have published is replaced by its nearest.
        said: the asker's word, or None.
        engine_name: the command line's word for the engine that is planned for.

    Returns:
        A word of the command line; ``any`` for the model as published.
    """
    if said is None:
        return "any", ()
    if engine(engine_name).loads != "vllm":
        return _of_engine(model, said, engine_name)
    word, notes = _canonical(said)
    if word in {"any", "int4"}:
        return word, notes
    found = checkpoints_for(model, word)
    if found and not found[0].hypothetical and found[0].quantization.method in FORMATS:
        return word, notes
    nearest = _nearest(model, found[0].quantization.bits if found else 16.0)
    if nearest == word:
        return word, notes
    return nearest, (*notes, note("plan.precision_nearest", said=said[:40], model=model.name, used=nearest))


def _of_engine(model: ModelSpec, said: str, engine_name: str) -> tuple[str, tuple[Note, ...]]:
    """A precision for an engine with formats of its own: its own words as they are, others by their nearest."""
    typed = re.sub(r"[^a-z0-9_.-]", "", said.strip().lower())
    own = f"gguf-{typed.removeprefix('gguf-').replace('-', '_')}"
    for word in (typed, own):
        try:
            exact = precision_word(word)
        except BadValue:
            continue
        if exact.startswith(("gguf-", "exl")) and nearest_word(model, exact, engine_name) == exact:
            return exact, ()
    word, notes = _canonical(said)
    if word == "any":
        return word, notes
    used = nearest_word(model, word, engine_name)
    foreign = word not in {"int4", "bf16", "fp16", "fp32"} and not re.fullmatch(
        r"(?:int|инт)?-?8-?(?:bits?|бит)?", typed
    )
    return used, (
        note("plan.precision_mapped_to", said=said[:40], engine=engine(engine_name).name, used=used),
    ) if foreign else ()


def _canonical(said: str) -> tuple[str, tuple[Note, ...]]:
    squeezed = re.sub(r"[^\w.]+|_", "", said.lower())
    if squeezed in _NATIVE:
        return "any", ()
    if squeezed in _ALIASES:
        return _ALIASES[squeezed], ()
    try:
        word = precision_word(said)
    except BadValue:
        return _by_bits(said, squeezed)
    if word.startswith(("gguf-", "exl", "mlx-")):
        return _by_bits(said, squeezed)
    return word, ()


def _by_bits(said: str, squeezed: str) -> tuple[str, tuple[Note, ...]]:
    """Read the bits a weight out of ``Q4_K_M``, ``q8_0``, ``exl2-4.0``, ``4.5bpw``, ``6 bit``."""
    plain = said.lower().removeprefix("exl2").removeprefix("exl3")
    found = _QUANT.search(plain) or _NUMBER.search(plain)
    if not found:
        return "any", (note("plan.precision_unknown", said=said[:40]),)
    bits = float(found.group(1))
    word = "bf16" if bits >= 16 else "fp8" if bits > 5.5 else "int4"
    common = re.fullmatch(r"(?:int|инт)?(?:4|8|16)(?:bits?|бит|бита|битах)?|q[48]", squeezed)
    return word, () if common else (note("plan.precision_mapped", said=said[:40], used=word),)


def _nearest(model: ModelSpec, bits: float) -> str:
    if bits > 9:
        return "any"
    if bits > 5.5:
        published = [c for c in checkpoints_for(model, "fp8") if not c.hypothetical]
        return "fp8" if published else "fp8-online" if checkpoints_for(model, "fp8-online") else "any"
    return "int4" if checkpoints_for(model, "int4") else "any"
