"""Reading a config's fields: whole numbers, switches, the text model inside a wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.errors import BadValue
from tools.vram.dialects import ANY_TEXT, BY_VERSION, DIALECTS, WRAPPERS, Flag, Says

Config = Mapping[str, Any]

MAX_LAYERS = 4096
MAX_SIZE = 1 << 40
"""Larger than any model; keeps a damaged config from asking for endless work."""
TEXT_NAMES = ("llm_config", "language_config")
"""What else than ``text_config`` wrappers call their text model's fields (InternVL, DeepSeek-VL2)."""


def number(config: Config, *names: str, default: int | None = None, maximum: int = MAX_SIZE) -> int:
    """Read a positive whole number under the first of several names.

    Raises:
        BadValue: no name is present and there is no default, or the value is no whole number of 1 to ``maximum``.
    """
    for name in names:
        value = config.get(name)
        if type(value) is int and 1 <= value <= maximum:
            return value
        value = _one(value)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
            raise BadValue("errors_vram.bad_field", field=name, value=repr(value)[:80])
        if value == 0 and default == 0:
            return 0
        if not 1 <= value <= maximum:
            raise BadValue("errors_vram.bad_field", field=name, value=repr(value)[:80])
        return int(value)
    if default is not None:
        return default
    raise BadValue("errors_vram.missing_field", field=names[0])


def _one(value: Any) -> Any:
    """A list that says the same number for every layer says that number."""
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    return items[0] if items and len({repr(item) for item in items[:MAX_LAYERS]}) == 1 else items


def _renamed(config: Config) -> Config:
    """Give a family's own field names the usual ones; a dot leads into an object."""
    dialect = DIALECTS.get(str(config.get("model_type")))
    if dialect is None or not dialect.renamed:
        return config
    found: dict[str, Any] = {}
    for theirs, ours in dialect.renamed:
        place, _, name = theirs.rpartition(".")
        holder = config.get(place) if place else config
        value = cast("Config", holder).get(name) if isinstance(holder, Mapping) else None
        if value is not None and config.get(ours) is None:
            found[ours] = value
    return {**config, **found}


def opened(config: Config) -> Config:
    """Return a wrapper's fields with its text model under ``text_config``, wherever the wrapper keeps it.

    What thinks comes first where a model also talks (Qwen-Omni's ``thinker_config``): it alone is served as text.
    """
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        fields = {name: value for name, value in cast("Config", thinker).items() if name not in config}
        config = {name: value for name, value in config.items() if name != "thinker_config"} | fields
    if isinstance(config.get("text_config"), Mapping):
        return config
    held = next((name for name in TEXT_NAMES if isinstance(config.get(name), Mapping)), None)
    return {**config, "text_config": config[held]} if held else config


def text_config(config: Config) -> Config:
    """Return the fields of the text model: a wrapper's ``text_config`` over its own, with the family's name."""
    config = opened(config)
    inner = config.get("text_config")
    text: Config = cast("Config", inner) if isinstance(inner, Mapping) else {}
    kind = str(config.get("model_type"))
    family = text.get("model_type") if kind in ANY_TEXT else None
    family = family or WRAPPERS.get(kind) or BY_VERSION.get(kind, {}).get(str(config.get("version")))
    if {**config, **text}.get("use_mla") is False:
        family = "deepseek"
    return _renamed({**config, **text, "model_type": family} if family else {**config, **text})


def has_towers(config: Config) -> bool:
    """Tell whether the config declares parts outside the text model (vision, audio)."""
    kind = str(config.get("model_type"))
    wrapped = kind in WRAPPERS or kind in BY_VERSION or bool(config.get("multimodal"))
    return wrapped or any(config.get(name) for name in ("vision_config", "audio_config", "vision_tower"))


def flag(config: Config, said: Flag) -> bool:
    """Tell whether a fact holds: always, never, or as the config states it."""
    if not isinstance(said, Says):
        return said
    stated = config.get(said.field)
    return said.absent if stated is None else bool(stated)
