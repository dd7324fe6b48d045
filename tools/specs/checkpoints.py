"""Which checkpoint a precision word means for a model: published repositories, and what the engine makes in flight."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tools.domain import Checkpoint, ModelSpec, Note, Quantization, note
from tools.errors import BadValue
from tools.specs.formats import FOUR_BIT, IN_FLIGHT, SIXTEEN_BIT, by_word, from_repository_name, precision_word

MAX_COPIES = 64
FROM_NAME = "name of the repository"
"""Source of a checkpoint that the catalogue does not list."""
RECALLED = "general knowledge"
"""How the source of a checkpoint begins whose quantisation was written down without its config at hand."""

_COPIES = re.compile(r"(-?\d{1,6})\s*[xх×*]\s*(?=[^\d\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """``2xNAME@PRECISION`` taken apart; ``precision`` is canonical, None where it was not said."""

    name: str
    precision: str | None = None
    copies: int = 1


def parse_model_ref(text: str) -> ModelRef:
    """Read a model argument of the command line.

    Args:
        text: ``Qwen/Qwen3-30B-A3B@bf16``, ``2xqwen3:14b@awq``.

    Raises:
        BadValue: no name, an unknown precision, or copies outside 1..64.
    """
    text = text.strip()
    found = _COPIES.match(text)
    copies = int(found.group(1)) if found else 1
    if not 1 <= copies <= MAX_COPIES:
        raise BadValue("errors_specs.bad_copies", value=copies, maximum=MAX_COPIES)
    name, at, precision = (text[found.end() :] if found else text).partition("@")
    if not name.strip():
        raise BadValue("errors_specs.no_model_name", value=text[:60])
    return ModelRef(name.strip(), precision_word(precision) if at else None, copies)


def native(spec: ModelSpec) -> Checkpoint:
    """Return the checkpoint the model was published as; where a copy of it was named, that copy."""
    return spec.checkpoints[0]


def checkpoints_for(spec: ModelSpec, precision: str) -> tuple[Checkpoint, ...]:
    """List the checkpoints of a model that a precision word allows, best first.

    Order: the model's own publisher first, then by downloads; a sibling's checkpoint comes after everything of the
    model's own. Where no repository of a stated format is known, one ``hypothetical`` checkpoint stands for the format
    itself, so that its arithmetic can be asked about; ``int4`` and ``any`` never yield such a one.

    Args:
        spec: the model.
        precision: a word of the command line (``bf16``, ``int4``, ``gguf-Q4_K_M``, ``any``...).

    Raises:
        BadValue: an unknown word.
    """
    word = precision_word(precision)
    if word == "any":
        return _ordered(spec, spec.checkpoints) + _in_flight(spec, "fp8-online") + _in_flight(spec, "bnb-4bit")
    if word == "int4":
        return _four_bit(spec)
    if word in SIXTEEN_BIT:
        return _sixteen_bit(spec, word)
    published = tuple(c for c in spec.checkpoints if c.precision == word)
    found = _ordered(spec, published) + _in_flight(spec, word)
    if found or word in IN_FLIGHT:
        return tuple(sorted(found, key=lambda c: (c.sibling_of is not None, _is_dynamic(c))))
    return (_hypothetical(spec, word),)


def with_copy(spec: ModelSpec, repo: str, words: tuple[str, ...]) -> ModelSpec:
    """Return ``spec`` with a quantised or renamed copy of it as its first checkpoint.

    Args:
        spec: the model the copy was made from.
        repo: the copy's hub id.
        words: the words of its name that tell a format (``("gptq", "int4")``); none = a renamed 16-bit copy.
    """
    listed = next((c for c in spec.checkpoints if c.repo.lower() == repo.lower()), None)
    if listed is None:
        listed = _unlisted(spec, repo, words)
    rest = tuple(c for c in spec.checkpoints if c.repo.lower() != repo.lower())
    return replace(spec, checkpoints=(listed, *rest))


def _unlisted(spec: ModelSpec, repo: str, words: tuple[str, ...]) -> Checkpoint:
    guessed = from_repository_name(repo, words)
    if guessed is None:
        return replace(native(spec), repo=repo, source=FROM_NAME, file_provenance="assumed")
    precision, quantization = guessed
    return Checkpoint(repo, precision, quantization, spec.dtype, file_provenance="assumed", source=FROM_NAME)


def _is_dynamic(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint.quantization.extra.get("dynamic"))


def _ordered(spec: ModelSpec, found: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    org = spec.name.split("/")[0]

    def rank(checkpoint: Checkpoint) -> tuple[bool, bool, bool, bool, int]:
        own = checkpoint.repo.split("/")[0] == org
        first = checkpoint is spec.checkpoints[0]
        return not first, checkpoint.sibling_of is not None, _is_dynamic(checkpoint), not own, -checkpoint.downloads

    return tuple(sorted(found, key=rank))


def _sixteen_bit(spec: ModelSpec, word: str) -> tuple[Checkpoint, ...]:
    base = _unquantised(spec)
    if base is None:
        return (_hypothetical(spec, word),)
    return (replace(base, precision=word, dtype=SIXTEEN_BIT[word]),)


def _unquantised(spec: ModelSpec) -> Checkpoint | None:
    return next((c for c in spec.checkpoints if c.quantization.method == "none" and c.sibling_of is None), None)


def _in_flight(spec: ModelSpec, word: str) -> tuple[Checkpoint, ...]:
    base = _unquantised(spec)
    if word not in IN_FLIGHT or base is None:
        return ()
    dtype = "bfloat16" if base.dtype == "float32" else base.dtype
    return (replace(base, precision=word, quantization=IN_FLIGHT[word], dtype=dtype, in_flight=True),)


def _four_bit(spec: ModelSpec) -> tuple[Checkpoint, ...]:
    found = [c for c in _ordered(spec, spec.checkpoints) if c.precision in FOUR_BIT]
    integers = ("gptq-int4", "awq", "w4a16")
    org = spec.name.split("/")[0]

    def rank(checkpoint: Checkpoint) -> tuple[bool, bool, bool]:
        own = checkpoint.repo.split("/")[0] == org
        return not own, checkpoint.precision not in integers, _is_dynamic(checkpoint)

    own = sorted((c for c in found if c.sibling_of is None), key=rank)
    siblings = tuple(sorted((c for c in found if c.sibling_of is not None), key=rank))
    return (*own, *_in_flight(spec, "bnb-4bit"), *siblings)


def _hypothetical(spec: ModelSpec, word: str) -> Checkpoint:
    quantization = Quantization() if word in SIXTEEN_BIT else by_word(word)
    dtype = SIXTEEN_BIT.get(word, spec.dtype)
    return Checkpoint(
        spec.name, word, quantization, dtype, file_provenance="assumed", source="no known repository", hypothetical=True
    )


def checkpoint_note(checkpoint: Checkpoint, spec: ModelSpec) -> Note | None:
    """Say in words what is special about a checkpoint, or return None for an ordinary one whose size is known."""
    if checkpoint.hypothetical:
        return note("specs.no_known_repository", name=spec.name, precision=checkpoint.precision)
    if checkpoint.sibling_of is not None:
        return note("specs.sibling_checkpoint", name=spec.name, repo=checkpoint.repo, sibling=checkpoint.sibling_of)
    if checkpoint.in_flight:
        return note("specs.in_flight", precision=checkpoint.precision, repo=checkpoint.repo)
    if checkpoint.source == FROM_NAME:
        return note("specs.format_from_name", repo=checkpoint.repo, precision=checkpoint.precision)
    if checkpoint.source.startswith(RECALLED):
        return note("specs.format_recalled", repo=checkpoint.repo)
    return None
