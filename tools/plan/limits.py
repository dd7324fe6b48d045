"""What numbers a plan accepts: defaults, bounds, and one clear error for each that is outside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tools.domain import Gpu, ModelSpec, Note, Residency, note
from tools.errors import BadValue
from tools.plan import engines
from tools.units import GIB, gib, parse_size

DEFAULT_CONTEXT = 8192
DEFAULT_USERS = 4
ENGINE = "vllm"

MAX_GPUS = 1024
MAX_NODES = 256
MAX_INSTANCES = 64
MAX_USERS = 65536
MAX_SIZE = 1 << 50

CONTEXT_CAPPED_UP_TO = 16
"""A context up to so many times the model's own is understood as "as long as it goes"; beyond, it is a slip."""

ENGINES = (
    "vllm",
    "sglang",
    "llama.cpp",
    "ollama",
    "text-generation-webui",
    "exllamav3",
    "mlx",
    "ktransformers",
    "lm studio",
)


def version_of(engine: str) -> str | None:
    """Return the version that is planned for where none is stated; None = the newest whose rules are known."""
    from tools.launch import pins

    known = {
        "llama.cpp": pins.LLAMACPP,
        "ollama": pins.OLLAMA,
        "text-generation-webui": pins.WEBUI,
        "sglang": pins.SGLANG,
    }
    return known.get(engine)


def engine_of(word: str | None) -> tuple[str, tuple[Note, ...]]:
    """Return the engine that is planned for, and a note where another one was named.

    Raises:
        BadValue: not an engine Rigfit has heard of.
    """
    if word is None:
        return ENGINE, (note("plan.assume_engine"),)
    from tools.vram.engines.words import engine_name

    asked = engine_name(word)
    if asked not in ENGINES:
        raise BadValue("errors_plan.bad_engine", value=word[:60], allowed=", ".join(ENGINES))
    if asked in engines.ENGINES:
        return asked, ()
    return ENGINE, (note("plan.other_engine", engine=word.strip()),)


def context_of(model: ModelSpec, stated: int | None) -> tuple[int, tuple[Note, ...]]:
    """Return the context to plan a model with: as stated, else the default, never beyond what the model reads.

    Raises:
        BadValue: a stated context is not positive or many times beyond the model's.
    """
    if stated is None:
        return min(DEFAULT_CONTEXT, model.max_context), ()
    if stated < 1 or stated > model.max_context * CONTEXT_CAPPED_UP_TO:
        raise BadValue("errors_plan.bad_context", value=short(stated), model=model.name, maximum=model.max_context)
    if stated > model.max_context:
        capped = note("plan.context_capped", model=model.name, stated=stated, maximum=model.max_context)
        return model.max_context, (capped,)
    return stated, ()


def users_of(stated: int | None) -> int:
    """Return the sequences at once: as stated, else the default.

    Raises:
        BadValue: outside 1..65,536.
    """
    if stated is None:
        return DEFAULT_USERS
    return within("users", stated, 1, MAX_USERS)


def within(name: str, value: int, least: int, most: int) -> int:
    """Return ``value`` if it lies within bounds.

    Raises:
        BadValue: it does not (``errors_plan.bad_<name>``).
    """
    if not least <= value <= most:
        raise BadValue(f"errors_plan.bad_{name}", value=short(value), least=least, most=most)
    return value


def kv_dtype_of(word: str | None, engine: str = ENGINE) -> str:
    """Return ``auto``, the engine's smaller type, or another type of cache that it has, for what was said of it.

    Args:
        word: ``fp8``, ``q8_0``, ``8bit`` ...; None = nothing was said.
        engine: the command line's word.

    Raises:
        BadValue: a type that the engine has not.
    """
    said = re.sub(r"[^a-z0-9]", "", (word or "auto").lower())
    if said in {"auto", "bf16", "fp16", "bfloat16", "float16", "f16", "16bit", "half"}:
        return "auto"
    rules = engines.engine(engine)
    if said in {"fp8", "fp8e4m3", "fp8e5m2", "q8", "q80", "int8", "8bit"} and rules.small_cache:
        return rules.small_cache
    for kind in rules.other_caches:
        if said in {kind.replace("_", ""), kind.split("_")[0]}:
            return kind
    allowed = ", ".join(["auto", *filter(None, [rules.small_cache]), *rules.other_caches])
    raise BadValue("errors_plan.bad_kv_dtype", value=(word or "")[:60], allowed=allowed)


def memory_of(text: str) -> int:
    """Read a size of RAM or of memory in use; "GB" means GiB there, as memory is sold.

    Raises:
        BadValue: not a size.
    """
    size = parse_size(re.sub(r"(?i)\s*([kmgt])b\s*$", r"\1iB", text))
    if size > MAX_SIZE:
        raise BadValue("errors.bad_size", value=text[:60])
    return size


def gigabytes(value: float | None, name: str) -> int | None:
    """Turn stated gigabytes into bytes.

    Raises:
        BadValue: negative or absurd.
    """
    if value is None:
        return None
    if not 0 <= value * GIB <= MAX_SIZE:
        raise BadValue(f"errors_plan.bad_{name}", value=f"{value:g}")
    return round(value * GIB)


def check_reserved(gpus: Sequence[Gpu], reserved_bytes: int) -> None:
    """Refuse more memory in use than a card has.

    Raises:
        BadValue: a card has no more than ``reserved_bytes``.
    """
    if any(reserved_bytes >= gpu.cuda_total_bytes for gpu in gpus):
        raise BadValue("errors_plan.bad_reserved", value=gib(reserved_bytes))


def short(value: object) -> str:
    """Quote a value without letting it fill the screen."""
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def residency_of(word: str | None) -> Residency:
    """Return the residency that was said, ``auto`` where none was.

    Raises:
        BadValue: another word.
    """
    for known in _RESIDENCIES:
        if known == (word or "auto"):
            return known
    raise BadValue("errors_plan.bad_residency", value=str(word)[:60], allowed=", ".join(_RESIDENCIES))


_RESIDENCIES: tuple[Residency, ...] = ("auto", "together", "swap")
