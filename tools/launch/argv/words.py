"""What every command line is made of: words that a shell or a process can carry as they are."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Sequence

from tools.errors import BadValue

FlagValue = str | int | float | bool
"""``True`` = a switch without a value."""


def checked_word(text: str) -> str:
    """Return ``text`` if a command line can carry it as a value, whatever else it holds.

    Raises:
        BadValue: it is empty, starts with a dash (would be read as a flag), or holds control characters.
    """
    if not text or text.startswith("-") or any(unicodedata.category(c) in _UNPRINTABLE for c in text):
        raise BadValue("errors_launch.bad_word", value=text)
    return text


# control characters, lone surrogates, line and paragraph separators
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def checked_port(port: int) -> int:
    """Return ``port`` if it is a TCP port.

    Raises:
        BadValue: it lies outside 1-65535.
    """
    if not 1 <= port <= 65535:
        raise BadValue("errors_launch.bad_port", value=port)
    return port


def wrapped(argv: Sequence[str], indent: str = "    ") -> str:
    """Quote a command for the shell: what comes before the first flag on one line, then a line for each flag."""
    first = next((index for index, word in enumerate(argv) if word.startswith("-")), len(argv))
    lines = [shlex.join(argv[:first])]
    for word in argv[first:]:
        quoted = shlex.quote(word)
        if word.startswith("-") and not _is_number(word):
            lines.append(indent + quoted)
        else:
            lines[-1] += f" {quoted}"
    return " \\\n".join(lines)


def joined(words: Sequence[str]) -> list[str]:
    """The same words with a flag and its one value in one word: ``--max-num-seqs=4``."""
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not lines or not lines[-1][0].startswith("--"):
            lines.append([word])
        else:
            lines[-1].append(word)
    return [word for line in lines for word in (["=".join(line)] if len(line) == 2 else line)]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
