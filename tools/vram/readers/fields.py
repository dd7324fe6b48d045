"""Reading a quantisation config's fields, whatever they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tools.errors import BadValue

Config = Mapping[str, Any]

MAX_NAMES = 200_000
MAX_NAME = 400
"""More or longer names than any checkpoint lists."""


def names_under(config: Config, *keys: str) -> tuple[str, ...]:
    """Return the module names listed under the first of several keys; lists of lists are one list.

    Raises:
        BadValue: something else than a list of names is there.
    """
    for key in keys:
        value = config.get(key)
        if value:
            return tuple(dict.fromkeys(_flat(value, key)))
    return ()


def _flat(value: object, key: str) -> list[str]:
    if isinstance(value, str):
        return [part.strip()[:MAX_NAME] for part in value.split(",")]
    if not isinstance(value, list):
        raise BadValue("errors_vram.bad_field", field=key, value=repr(value)[:80])
    found: list[str] = []
    for name in cast("list[Any]", value)[:MAX_NAMES]:
        if isinstance(name, list):
            found += [str(inner)[:MAX_NAME] for inner in cast("list[Any]", name)]
        else:
            found.append(str(name)[:MAX_NAME])
    return found


def whole(config: Config, key: str, default: int) -> int:
    """Return a whole number of -1 or 1 to 2**20, or ``default`` where it is absent.

    Raises:
        BadValue: it is no such number.
    """
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= 1 << 20 or value == 0:
        raise BadValue("errors_vram.bad_field", field=key, value=repr(value)[:80])
    return value


def bits_of(config: Config, key: str, default: int) -> int:
    """Return the bits of a stored weight.

    Raises:
        BadValue: not 1 to 16.
    """
    found = whole(config, key, default)
    if not 1 <= found <= 16:
        raise BadValue("errors_vram.bad_field", field=key, value=str(found))
    return found


def mapping(config: Config, key: str) -> Config:
    """Return the object under a key, empty where there is none."""
    value = config.get(key)
    return cast("Config", value) if isinstance(value, Mapping) else {}


def pair(value: object, key: str = "weight_block_size") -> tuple[int, int] | None:
    """Return two positive numbers, or None where there is no pair.

    Raises:
        BadValue: the pair holds something else.
    """
    if not isinstance(value, list | tuple) or len(cast("list[Any]", value)) != 2:
        return None
    both = cast("list[Any]", value)
    sizes = whole({key: both[0]}, key, 128), whole({key: both[1]}, key, 128)
    if min(sizes) < 1:
        raise BadValue("errors_vram.bad_field", field=key, value=repr(both)[:80])
    return sizes
