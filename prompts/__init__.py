"""Every word a person reads, English and Russian. This package imports nothing of Rigfit's.

``messages/<language>/<namespace>.toml`` holds flat ``name = "text with {placeholders}"`` tables; a message's code is
``namespace.name``. ``answers/`` and ``llm/`` hold longer templates. A test keeps the languages complete.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

LANGUAGES = ("en", "ru")

_FOLDER = os.path.join(os.path.dirname(__file__), "messages")
"""A plain path: importing ``importlib.resources`` alone would take a twentieth of what planning may."""


@cache
def messages(language: str, namespace: str) -> Mapping[str, str]:
    """Return the table of one namespace. Raises ``FileNotFoundError`` for an unknown one."""
    with open(os.path.join(_FOLDER, language, f"{namespace}.toml"), "rb") as file:
        return tomllib.load(file)


def text(language: str, code: str, /, **params: Any) -> str:
    """Render a message: ``text("ru", "errors.unknown_model", name="foo")``.

    Args:
        language: one of ``LANGUAGES``; anything else falls back to English.
        code: ``namespace.name``.
        params: values for the placeholders, which follow ``str.format`` (so ``{bytes:.1f}`` works).

    Returns:
        Plain text. Callers that build HTML, Markdown, YAML or shell quote it with that format's own writer.

    Raises:
        KeyError: no such message, or a placeholder without a value.
    """
    namespace, _, name = code.partition(".")
    table = messages(language if language in LANGUAGES else "en", namespace)
    return table[name].format(**params)
