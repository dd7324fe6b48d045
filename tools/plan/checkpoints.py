"""Which checkpoint an engine loads for a precision: published repositories first, else one that is to be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tools.domain import Checkpoint, Gpu, ModelSpec, MoeMlp, Note, note
from tools.errors import BadValue
from tools.plan.engines import engine as engine_data
from tools.plan.kernels import formats_of, runs_on
from tools.specs.checkpoints import checkpoint_note, checkpoints_for, native
from tools.specs.formats import SIXTEEN_BIT, by_word

EVERY_TYPE = frozenset({"unsloth", "bartowski", "mradermacher"})
"""Publishers whose GGUF repositories hold every common type: where one of them is known, the others are taken to be
there, and that is said."""

TAKEN_TO_BE_THERE = "its publisher makes all common types"
"""Source of a GGUF file that the catalogue does not list by itself."""


def as_asked(model: ModelSpec, word: str, gpus: Sequence[Gpu], engine: str = "vllm") -> Checkpoint:
    """Return the checkpoint of a stated precision, one that runs on some card if any does.

    Args:
        model: what is to run.
        word: a word of the command line; ``any`` is the model as published, or what is nearest to it.
        gpus: the rig's cards.
        engine: that is planned for.

    Raises:
        BadValue: no checkpoint of the model exists in that precision.
    """
    if engine_data(engine).loads == "vllm":
        if word == "any":
            return native(model)
        found = [c for c in checkpoints_for(model, word) if not c.hypothetical]
    else:
        found = list(of_word(model, nearest_word(model, word, engine), made=True))
    if not found:
        raise BadValue("errors_plan.no_checkpoint", model=model.name, precision=word)
    able = [c for c in found if not gpus or any(runs_on(c, gpu, engine).runs for gpu in gpus)]
    return (able or found)[0]


def of_word(model: ModelSpec, word: str, *, made: bool = False) -> Iterator[Checkpoint]:
    """Yield the checkpoints of one precision word, best first.

    Args:
        model: what is to run.
        word: a word of the command line.
        made: EXL files that nobody is known to have published may be made; GGUF files always may.

    Raises:
        BadValue: no GGUF file is known and none can be made.
    """
    if word.startswith("gguf-"):
        yield gguf(model, word)
        return
    try:
        found = checkpoints_for(model, word)
    except BadValue:
        return
    yield from (c for c in found if not c.hypothetical or (made and word.startswith("exl")))


def gguf(model: ModelSpec, word: str) -> Checkpoint:
    """Return the GGUF file of a type: published, taken to be in a known repository, or to be made.

    Args:
        model: what is to run.
        word: ``gguf-Q4_K_M``.

    Raises:
        BadValue: no file is known and llama.cpp does not know the architecture, so none can be made.
    """
    own = [c for c in model.checkpoints if c.quantization.method == "gguf" and c.sibling_of is None]
    listed = [c for c in own if c.precision == word]
    if listed:
        return max(listed, key=lambda c: c.repo.split("/")[0] == model.name.split("/")[0])
    kind = word.removeprefix("gguf-")
    for repo in dict.fromkeys(c.repo for c in own if c.repo.split("/")[0].lower() in EVERY_TYPE):
        if kind not in {"F16", "F32", "BF16", "MXFP4"}:
            return Checkpoint(repo, word, by_word(word), "float16", file_provenance="assumed", source=TAKEN_TO_BE_THERE)
    from tools.plan.llamacpp_models import VERSION, converts

    if not converts(model):
        raise BadValue("errors_plan.no_gguf", model=model.name, architecture=model.architecture[:60], version=VERSION)
    made = checkpoints_for(model, word)[0]
    return replace(made, repo=_unquantised_repo(model))


def _unquantised_repo(model: ModelSpec) -> str:
    """The repository that a file is converted from."""
    plain = next((c for c in model.checkpoints if c.quantization.method == "none" and c.sibling_of is None), None)
    return (plain or native(model)).repo


def nearest_word(model: ModelSpec, word: str, engine: str) -> str:
    """Return the precision word of an engine's own formats that is nearest to one of any engine's.

    For GGUF 16 bits as asked stay 16 bits; the model as published is taken in 8 bits, which loses nothing that can be
    noticed; experts published in MXFP4 stay so.

    Args:
        model: what is to run; ``any`` depends on how it was published.
        word: a word of the command line.
        engine: that is planned for; it loads formats of its own.
    """
    loads, native_method = engine_data(engine).loads, native(model).quantization.method
    if loads == "exl3":
        return exl_word(16.0 if word == "any" else 4.5 if word == "int4" else by_word(word).bits)
    if loads == "webui" and (kept := _of_webui(model, word)):
        return kept
    if word.startswith("gguf-"):
        return word
    if word in SIXTEEN_BIT:
        return "gguf-F16" if word == "fp16" else "gguf-BF16"
    if word in {"any", "mxfp4", "int4"} and native_method == "mxfp4":
        return "gguf-MXFP4"
    if word == "int4":
        return "gguf-Q4_K_M"
    return gguf_word((native(model).quantization if word == "any" else by_word(word)).bits)


def _of_webui(model: ModelSpec, word: str) -> str | None:
    """What a loader beside llama.cpp takes: 16 bits by Transformers, 4 bits by ExLlamaV3 where they are published."""
    if word == "any":
        return native(model).precision if native(model).quantization.method == "none" else None
    if word in {*SIXTEEN_BIT, "bnb-4bit", "bnb-8bit"} or word.startswith("exl3-"):
        return word
    if word.startswith("gguf-"):
        return None
    bits = 4.5 if word == "int4" else by_word(word).bits
    if bits < 5 and any(c.precision == "exl3-4" and c.sibling_of is None for c in model.checkpoints):
        return "exl3-4"
    return None if can_be_gguf(model) else "bnb-4bit" if bits < 5 else "bnb-8bit"


def can_be_gguf(model: ModelSpec) -> bool:
    """Tell whether a GGUF file of a model is known or can be made."""
    from tools.plan.llamacpp_models import converts

    return converts(model)


def exl_word(bits: float) -> str:
    """Return the EXL3 format of about so many bits a weight: 8, 6, 5, 4 or 3."""
    return next((f"exl3-{size}" for size in (8, 6, 5, 4) if bits >= size - 0.1), "exl3-3")


def gguf_word(bits: float) -> str:
    """Return the GGUF type that people run in place of a format of so many bits a weight."""
    return next((f"gguf-{kind}" for least, kind in _BY_BITS if bits >= least), "gguf-Q2_K")


_BY_BITS = ((7.0, "Q8_0"), (5.8, "Q6_K"), (4.9, "Q5_K_M"), (3.9, "Q4_K_M"), (2.9, "Q3_K_M"))


def special(checkpoint: Checkpoint, model: ModelSpec) -> Note | None:
    """Say in words what is special about a checkpoint; None for an ordinary one."""
    if checkpoint.quantization.method == "gguf":
        if checkpoint.hypothetical:
            return note("plan.gguf_to_make", model=model.name, type=_type(checkpoint), repo=checkpoint.repo)
        if checkpoint.source == TAKEN_TO_BE_THERE:
            return note("plan.gguf_assumed", repo=checkpoint.repo, type=_type(checkpoint))
    if checkpoint.hypothetical and checkpoint.precision.startswith("exl"):
        return note("plan.exl_to_make", model=model.name, precision=checkpoint.precision)
    return checkpoint_note(checkpoint, model)


def _type(checkpoint: Checkpoint) -> str:
    return checkpoint.precision.removeprefix("gguf-")


def word_for(model: ModelSpec, checkpoint: Checkpoint, engine: str) -> str:
    """Return the precision word under which another engine loads what comes nearest to a checkpoint.

    Where the other engine loads it, it stays. Else, in GGUF, 16 bits become Q8_0, the closest that people run, 8 bits
    of any kind too, and 4 bits Q4_K_M.

    Args:
        model: what is to run.
        checkpoint: as it was chosen for some engine.
        engine: that is planned for now.
    """
    loads, method, bits = engine_data(engine).loads, checkpoint.quantization.method, checkpoint.quantization.bits
    if loads == "vllm":
        if method in formats_of(engine) and method != "gguf" and not checkpoint.hypothetical:
            return "any" if checkpoint.repo == native(model).repo and not checkpoint.in_flight else checkpoint.precision
        return "any" if bits > 9 else _vllm_word(bits)
    if loads == "exl3":
        return exl_word(bits)
    if loads == "webui" and not checkpoint.hypothetical and method in {"none", "exl3", "bnb_nf4"}:
        return checkpoint.precision if not _is_sparse(model) or method != "bnb_nf4" else "gguf-Q4_K_M"
    if method == "gguf":
        return checkpoint.precision
    if method == "mxfp4" and native(model).quantization.method == "mxfp4":
        return "gguf-MXFP4"
    if loads == "webui":
        return nearest_word(model, "int4" if bits <= 5 else "int8", engine)
    return gguf_word(4.5 if bits <= 5 else min(bits, 8.5))


def _vllm_word(bits: float) -> str:
    return "fp8" if bits > 5.5 else "int4"


def _is_sparse(model: ModelSpec) -> bool:
    return any(isinstance(layer.mlp, MoeMlp) for layer in model.layers)


def published_sixteen(model: ModelSpec) -> str | None:
    """Return the word of a 16-bit GGUF file of a model where one is listed."""
    words = [c.precision for c in model.checkpoints if c.sibling_of is None]
    return next((word for word in ("gguf-BF16", "gguf-F16") if word in words), None)
