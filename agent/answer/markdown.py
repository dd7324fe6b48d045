"""One way to put foreign text into Markdown, and the template environment that applies it to everything it prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prompts import LANGUAGES
from prompts import text as say
from tools.plan.moves import plain_precision
from tools.units import span

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_CHARS = 300
"""Longest foreign text an answer repeats."""
_SPECIAL = re.compile(r"([\\`*\[\]#|~$]|(?<![^\W_])_|_(?![^\W_]))")
_AUTOLINK = re.compile(r"(:)(?=//)|(?<=www)(\.)|(@)", re.IGNORECASE)
_UNNAMED = r"GPU (\d[\d.]* ?Gi?B)"
"""A card known by its memory alone, as the catalogue calls it."""
_LINE_START = re.compile(r"^([-+>=]|\d+(?=[.)]))")


class Markdown(str):
    """Text that is Markdown already and is printed as it is."""

    __slots__ = ()


def quote_markdown(value: object, limit: int = MAX_CHARS) -> Markdown:
    r"""Return text so that Markdown, HTML and table cells show it literally, on one line.

    >>> quote_markdown("a|b <img src=x> [x](http://e)")
    'a\\|b &lt;img src=x&gt; \\[x\\](http\\://e)'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    if len(line) > limit:
        line = line[: limit - 1] + "…"
    line = _SPECIAL.sub(r"\\\1", line)
    line = _AUTOLINK.sub(lambda m: "\\" + m.group(0), line)
    line = _LINE_START.sub(r"\\\1", line) if not line[:1].isdigit() else line
    return Markdown(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def link(title: object, url: str) -> Markdown:
    """Return a Markdown link; the address is percent-encoded so that it can't end the link early."""
    return Markdown(f"[{quote_markdown(title, 120)}]({quote(url, safe=':/?#@!$&*+,;=%~-._')})")


def code(text: object) -> Markdown:
    """Return text as a code span that neither ends early nor breaks a table; nothing for nothing."""
    plain = " ".join(str(text).replace("`", "'").split())[:MAX_CHARS]
    return Markdown(f"`{plain}`".replace("|", "\\|") if plain else "")


def gib(size_bytes: float, digits: int = 1) -> Markdown:
    """Return bytes as ``56.9 GiB``."""
    return Markdown(f"{round(size_bytes / 2**30, digits) + 0.0:.{digits}f} GiB")


def group(number: float, language: str) -> Markdown:
    """Return a whole number with its thousands apart: ``8,192`` in English, ``8 192`` in Russian."""
    text = f"{round(number):,}"
    return Markdown(text.replace(",", "\u00a0") if language == "ru" else text)


def precision_said(word: str, language: str) -> str:
    """Return a precision as people write it, in the answer's language where it has words."""
    return plain_precision(word).replace("(in flight)", say(language, "agent.in_flight"))


def card_name(name: str, language: str) -> str:
    """Return a card's name; one known by its memory alone is named in the answer's language."""
    unnamed = re.fullmatch(_UNNAMED, name)
    return say(language, "agent.card_of", memory=unnamed.group(1)) if unnamed else name


def billions(count: float) -> Markdown:
    """Return a parameter count in billions with three significant digits at most: ``30.5``, ``671``."""
    value = count / 1e9
    return Markdown(f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}")


@cache
def environment(language: str) -> Environment:
    """Return the templates of a language; whatever they print is quoted unless it is ``Markdown``.

    Filters: ``gib``, ``n`` (whole number), ``billions``, ``band`` (an estimate's ends), ``precision`` and ``card`` (as
    people write them), ``memory`` (a card, an unnamed one by its memory), ``code`` (a command),
    ``short`` (a model without its publisher), ``say`` (a note or message code), ``link``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    known = language if language in LANGUAGES else "en"
    templates = Environment(
        loader=PackageLoader("prompts", f"answers/{known}"),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,  # noqa: S701  HTML escaping is the wrong one for Markdown; ``finalize`` quotes instead
        auto_reload=False,
        extensions=["jinja2.ext.do"],
    )
    templates.filters.update(
        gib=gib,
        code=code,
        n=lambda value: group(value, known),
        billions=billions,
        band=lambda band: Markdown(span(band["low"], band["high"])),
        precision=lambda word: precision_said(word, known),
        short=lambda name: str(name).rsplit("/", 1)[-1],
        card=lambda name: card_name(name, known),
        memory=lambda name: re.sub(_UNNAMED, r"\1", name),
        link=link,
        say=lambda note, **params: _say(known, note, params),
        md=Markdown,
    )
    return templates


def _finalize(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (Markdown, int, float)):
        return str(value)
    return quote_markdown(value)


def _say(language: str, note: Mapping[str, Any] | str, params: Mapping[str, Any]) -> str:
    if isinstance(note, str):
        return say(language, note, **params)
    return say(language, note["code"], **{**note["params"], **params})


def render(language: str, template: str, view: Mapping[str, Any]) -> str:
    """Render ``prompts/answers/<language>/<template>.md.j2`` and drop surplus blank lines."""
    text = environment(language).get_template(f"{template}.md.j2").render(**view)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip()
