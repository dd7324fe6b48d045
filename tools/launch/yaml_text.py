"""YAML out of plain Python values: safe by default, with comments for people.

Compose replaces ``$NAME`` and ``${NAME}`` in every value, so for it each ``$`` is doubled unless the text is an
``EnvRef``.
Text that some YAML reader could take for something else than text is double-quoted.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import yaml

# flags, durations, and names: never what some YAML reader takes for a number, a date, a tag, an anchor or a comment
_PLAIN = re.compile(
    r"--[a-z][a-z-]*(?:=[a-z0-9][a-z0-9_./-]*)?|[1-9][0-9]*(?:s|gb)|"
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)\Z)[A-Za-z/](?:[A-Za-z0-9_/.@+-]|:(?=[A-Za-z0-9_/]))*",
    re.IGNORECASE,
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]+")


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
    written = _Writing(dollar)
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *written.events(document),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    text = cast("str", yaml.emit(events, Dumper=_DUMPER, width=1 << 30, allow_unicode=True, indent=2))  # pyright: ignore[reportUnknownMemberType]
    top = "".join(f"# {comment_line(line)}".rstrip() + "\n" for line in header)
    return top + ("\n" if top else "") + written.with_comments(text)


_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's writer where PyYAML was built with it: twenty times faster."""


class _Writing:
    """One document on its way. The writer knows no comments, so keys hold their places and are replaced afterwards."""

    def __init__(self, dollar: str) -> None:
        self._dollar = dollar
        self._mark = f"comment-{secrets.token_hex(16)}-"
        self._comments: list[tuple[str, ...]] = []

    def events(self, value: Any) -> Iterator[yaml.Event]:
        """Yield what the writer is told about a value."""
        if isinstance(value, Mapping):
            yield yaml.MappingStartEvent(None, None, True, flow_style=not value)
            for key, item in cast("Mapping[str, Any]", value).items():
                if isinstance(item, Commented):
                    yield from (_plain(f"{self._mark}{len(self._comments)}"), _plain("x"))
                    self._comments.append(item.lines)
                yield self._text(key)
                yield from self.events(item.value if isinstance(item, Commented) else item)
            yield yaml.MappingEndEvent()
        elif isinstance(value, list | tuple):
            flow = isinstance(value, Flow) or not value
            yield yaml.SequenceStartEvent(None, None, True, flow_style=flow)
            for item in cast("Sequence[Any]", value):
                yield from self.events(item)
            yield yaml.SequenceEndEvent()
        else:
            yield self._text(value) if isinstance(value, str) else _plain(_number(value))

    def _text(self, value: str) -> yaml.ScalarEvent:
        text = str(value) if isinstance(value, EnvRef) else value.replace("$", self._dollar)
        if isinstance(value, Block):
            return yaml.ScalarEvent(None, None, (True, True), text, style="|")
        return _plain(text) if _PLAIN.fullmatch(text) else yaml.ScalarEvent(None, None, (True, True), text, style='"')

    def with_comments(self, text: str) -> str:
        """Return the written text with an empty line and the comment where each of the keys stood."""

        def lines(found: re.Match[str]) -> str:
            indent, number = found[1], int(found[2])
            return "\n" + "".join(f"{indent}# {comment_line(line)}\n" for line in self._comments[number])

        if not self._comments:
            return text
        return re.sub(rf"^( *){self._mark}([0-9]+): x\n", lines, text, flags=re.MULTILINE)


def _plain(text: str) -> yaml.ScalarEvent:
    return yaml.ScalarEvent(None, None, (True, True), text)


def _number(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
