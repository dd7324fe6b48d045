"""YAML out of plain Python values: safe by default, with comments for people.

Compose replaces ``$NAME`` and ``${NAME}`` in every value, so for it each ``$`` is doubled unless the text is an
``EnvRef``.
Text that some YAML reader could take for something else than text is double-quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

# flags, durations, and names: never what some YAML reader takes for a number, a date, a tag, an anchor or a comment
_PLAIN = re.compile(
    r"--[a-z][a-z-]*(?:=[a-z0-9][a-z0-9_./-]*)?|[1-9][0-9]*(?:s|gb)|"
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)\Z)[A-Za-z/](?:[A-Za-z0-9_/.@+-]|:(?=[A-Za-z0-9_/]))*",
    re.IGNORECASE,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class EnvRef(str):
    """A value that refers to the environment on purpose, such as ``"${HF_TOKEN:-}"``; never made from foreign text."""

    __slots__ = ()


class Block(str):
    """A text of several lines, written as a literal block."""

    __slots__ = ()


class Flow(tuple[Any, ...]):
    """A short sequence, written on one line."""

    __slots__ = ()


class Commented:
    """A value with an empty line and lines of comment above it."""

    __slots__ = ("lines", "value")

    def __init__(self, value: Any, *lines: str) -> None:
        self.value = value
        self.lines = lines


def comment_line(text: str) -> str:
    """Return text as one line that cannot leave a comment."""
    return _UNPRINTABLE.sub(" ", text)


def dump(document: Mapping[str, Any], *, header: tuple[str, ...] = (), dollar: str = "$$") -> str:
    """Write a document.

    Args:
        document: mappings, sequences, text, whole numbers and booleans; values may be wrapped in ``Commented``.
        header: lines of comment at the top.
        dollar: what a dollar sign becomes: ``$$`` for Compose, ``$`` where nothing is replaced.

    Returns:
        YAML text that ends in a newline.
    """
    yaml: Any = YAML()
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(_tree(document, 0, dollar), stream)
    top = "".join(f"# {comment_line(line)}".rstrip() + "\n" for line in header)
    return top + ("\n" if top else "") + stream.getvalue()


def _tree(value: Any, depth: int, dollar: str) -> Any:
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[str, Any]", value), depth, dollar)
    if isinstance(value, list | tuple):
        items: Any = CommentedSeq([_tree(item, depth + 1, dollar) for item in cast("Sequence[Any]", value)])
        if isinstance(value, Flow):
            items.fa.set_flow_style()
        return items
    return _scalar(value, dollar)


def _mapping(value: Mapping[str, Any], depth: int, dollar: str) -> Any:
    tree: Any = CommentedMap()
    for key, item in value.items():
        tree[key] = _tree(item.value if isinstance(item, Commented) else item, depth + 1, dollar)
        if isinstance(item, Commented):
            text = "\n" + "\n".join(comment_line(line) for line in item.lines)
            tree.yaml_set_comment_before_after_key(key, before=text.rstrip("\n") or "\n", indent=2 * depth)
    return tree


def _scalar(value: Any, dollar: str) -> Any:
    if not isinstance(value, str):
        return value
    text = str(value) if isinstance(value, EnvRef) else value.replace("$", dollar)
    if isinstance(value, Block):
        return LiteralScalarString(text)
    return text if _PLAIN.fullmatch(text) else DoubleQuotedScalarString(text)
