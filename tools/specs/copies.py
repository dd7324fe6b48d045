"""Whose copy a repository is, told by its name: quantised, renamed, "abliterated", in another format.

A wrong base is worse than none. So a copy has to name its base's generation, size and words wholly; what it says
beside them must be a format, a writer's mark or a word that leaves the structure alone; and what drafts for a model
(``Eagle3``, ``DFlash``, ``assistant``) or is of another kind (``embedding``, ``audio``) is never its copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.specs.model_index import OTHER_KINDS, SIZE_OF_NAME, ModelIndex, Row
from tools.specs.names import Name, catalogue_name, is_neutral, tokens

# fmt: off
DRAFTS = frozenset({
    "eagle", "eagle3", "dflash", "dflash2", "dspark", "assistant", "draft", "drafter", "speculator", "speculators",
    "medusa", "hydra", "mlpspeculator", "adapter", "lora", "qlora", "projector", "mmproj", "controlnet", "encoder",
    "tokenizer", "classifier", "pruned", "depruned", "reap", "prune", "minitron", "slerp", "frankenmerge", "merged",
    "selfmerge", "upscaled", "passthrough", "layers", "layer", "tiny", "nano", "test", "dummy", "random", "spec",
})
"""Words of models that stand beside a model or are cut out of it; their structure is their own."""

LEAVES_ALONE = frozenset({
    "abliterated", "uncensored", "heretic", "ara", "obliterated", "hf", "instruct", "it", "chat", "thinking", "base",
    "dynamic", "quantized", "quant", "mixed", "mix", "lite", "calib", "ct", "compressed", "tensors", "vllm", "sglang",
    "tgi", "trtllm", "tensorrt", "llm", "modelopt", "llmcompressor", "official", "mirror", "copy", "optimized", "fixed",
    "repack", "mtp", "kv", "kvcache", "text", "only", "no", "vision", "moe", "calibrated", "v", "sft", "dpo",
    "grpo", "rl", "optiq", "dwq", "a16", "quark", "e4m3", "int", "ppo", "rlhf", "rlvr", "opd", "mopd", "orpo", "kto",
    "ft", "finetune", "finetuned", "tuned", "preview", "beta", "final", "release", "latest",
})
"""Words that do not touch a structure: of training, of formats and of tools."""
# fmt: on

STAGES = frozenset({"sft", "dpo", "rl", "grpo", "ppo", "rlhf", "rlvr", "opd", "mopd", "orpo", "kto"})
"""Words for a stage of training: a copy need not name its model's (``MiMo-V2.6-Flash-MOPD`` beside ``...-RL``)."""

_DATE = re.compile(r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|2\d(?:0[1-9]|1[0-2])")
"""Dates of a release as names give them: month and day (``0731``), year and month (``2507``)."""

WRAPS = OTHER_KINDS | {"llava", "onevision", "internvl", "sa2va", "ultravox", "ovis", "minicpm", "videollama", "blip"}
"""Words before a family's that make the model a larger one around it (``llava-onevision-qwen2-7b``)."""

_OTHER_SIZE = re.compile(r"[ae]?\d+(?:\.\d+)?[bml]|\d+e|k\d+")
"""Words of a second size: of parameters, active ones, layers or experts."""

MAX_WORDS = 40
"""Words of a name that are looked at."""


def base_of(repo: str, index: ModelIndex) -> Row | None:
    """Find the model that a repository, or a folder, is a copy of by its name.

    Args:
        repo: hub id or path; its last part is the name.
        index: every known model.

    Returns:
        The model whose name the copy states most wholly, or None where none is stated beyond doubt.
    """
    for name in _readings(repo, index):
        fitting = [row for row in index.all_of_family(name.family) if _is_copy(name, row)]
        if fitting:
            return max(fitting, key=lambda row: (_stated(row, name), index.is_publishers(row), row.downloads))
    return None


def _readings(repo: str, index: ModelIndex) -> Iterator[Name]:
    """Read the name from its first word on, then from each later word that begins a family (``Huihui-Qwen3-8B``).

    Words before the family must say nothing of a draft; where no size follows, they have to be a writer's mark.
    """
    org, _, words = repo.strip().rstrip("/").rpartition("/")
    yield catalogue_name(words)
    for found in list(re.finditer(r"[-_. ]", words))[:MAX_WORDS]:
        before = tokens(words[: found.start()])
        if any(_is_draft(word) or word in WRAPS for word in before):
            return
        name = catalogue_name(words[found.end() :])
        if not name.family or not name.versions or not index.of_family(name.family):
            continue
        if name.size_b is not None or _is_mark(before, org, index.of_family(name.family)):
            yield name


def _is_mark(before: list[str], org: str, family: list[Row]) -> bool:
    """Tell whether the words before a family are its writer's or its publisher's (``deepseek-ai-DeepSeek-V4``)."""
    writers = (org.rsplit("/", 1)[-1], *{row.org for row in family})
    return any(set(before) <= set(tokens(writer)) for writer in writers)


def _is_draft(word: str) -> bool:
    return word in DRAFTS or word.rstrip("0123456789.") in DRAFTS


def _stated(row: Row, name: Name) -> int:
    """How much a model's name says: of two that fit, the one that says more is meant, but for a stage unsaid."""
    unsaid = (STAGES & set(row.words)) - name.words
    return len(row.words) + len(row.versions) - 2 * len(unsaid)


def _is_copy(name: Name, row: Row) -> bool:
    """Tell whether a name states all that a model's name states, and beside it nothing of another structure."""
    own = {word for word in row.words if not is_neutral(word) and word not in STAGES}
    more = name.words - own - set(row.words)
    if not own <= name.words or not set(row.versions) <= set(name.versions) or more & OTHER_KINDS:
        return False
    if any(_is_draft(word) or _OTHER_SIZE.fullmatch(word) for word in more):
        return False
    if not row.versions and not more <= LEAVES_ALONE:
        return False
    if row.size_b is None or name.size_b is None:
        later = set(name.versions) - set(row.versions)
        return row.size_b == name.size_b and more <= LEAVES_ALONE and all(map(_DATE.fullmatch, later))
    return abs(name.size_b - row.size_b) <= SIZE_OF_NAME * row.size_b
