"""HTML from values: whatever is not already Markup is escaped, so hostile names stay text."""

from __future__ import annotations

import re
from html import escape

_VOID = frozenset({"br", "hr", "img", "input", "meta"})
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """A piece of finished, well-formed HTML."""

    __slots__ = ()


def text_node(value: object) -> Markup:
    """Return a value as escaped text; characters that XML cannot carry become U+FFFD."""
    if isinstance(value, Markup):
        return value
    return Markup(escape(_NOT_XML.sub("\ufffd", str(value)), quote=True))


def join(*pieces: object) -> Markup:
    """Concatenate pieces, escaping what is not Markup and leaving out ``None``."""
    return Markup("".join(text_node(piece) for piece in pieces if piece is not None))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Build an element: ``tag("p", "a < b", class_="x")`` is ``<p class="x">a &lt; b</p>``.

    Args:
        name: element name, from code and never from a user.
        children: text or Markup; ``None`` is left out.
        attributes: ``class_`` stands for ``class`` and ``_`` for ``-``; ``None`` and ``False`` leave an attribute out,
            ``True`` writes it as its own value, which is valid in XML too.
    """
    written = "".join(
        f' {_attribute_name(key)}="{text_node(_attribute_name(key) if value is True else value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
