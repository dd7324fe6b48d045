r"""Takes links, images and markup out of a model's text, but for links to what the program itself found.

A page, a log or a name may tell a model to write one: an image's address can carry a conversation away as soon as it
is shown. So this is decided by the text's form alone, piece by piece, never by what the model means.

>>> Links(frozenset({"https://a.example/x"}), "en").clean("See [a](https://a.example/x) or [b](https://b.example/).")
'See [a](https://a.example/x) or b.'
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from agent.grounding.pieces import pieces
from agent.state import State, artifact
from prompts import text as say

_IMAGE = re.compile(
    r"!\[([^\[\]\n]{0,500})\](?:\([^()\n]{0,2000}(?:\([^()\n]{0,500}\)[^()\n]{0,2000})?\)|\[[^\[\]\n]{0,200}\])"
)
_LINK = re.compile(r"\[([^\[\]\n]{0,500})\]\(\s{0,4}<?([^\s()<>]{0,2000})>?(?:\s[^()\n]{0,500})?\)")
_BARE = re.compile(r"(?:(?:https?|ftp)://|www\.)[^\s<>()\[\]`\\\"']{1,2000}", re.IGNORECASE)
_LOADS = re.compile(
    r"<(?=/?\s{0,4}(?:img|image|svg|a|iframe|frame|video|audio|source|picture|track|link|script|style|form|input|button"
    r"|object|embed|base|meta|math|template|html|body|table|div|span)\b)",
    re.IGNORECASE,
)
"""Tags that load something, or lead or hide; they are not even left in code."""
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_BRACKET = re.compile(r"\\[\\\[\]!]|[\[\]]")
_OPENS = re.compile(r"(?<!\\)\]\(")
_MAIL = re.compile(r"(?<=[\w.+-])@(?=[\w-])")
_SPAN = re.compile(r"(`{1,3})(?!`)([^`\n]{1,2000})\1(?!`)")
_FENCE = re.compile(r"\s{0,3}(?:```[^`\n]*|~~~[^\n]*)(?:\n|\Z)")
_HERE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "[::1]", "::1"})  # noqa: S104  names, nothing is bound
_PASSES = 6


class Links:
    """What may lead out of an answer.

    Args:
        allowed: addresses that may be linked.
        language: of the words that stand for what was taken out.
    """

    def __init__(self, allowed: frozenset[str], language: str) -> None:
        self._allowed, self._gone = allowed, say(language, "agent.link_taken_out")

    def clean(self, piece: str) -> str:
        """Return a piece of an answer (a sentence, a line or a whole fenced block) without foreign links and images.

        A cleaned piece stays as it is when it is cleaned again, also where it is cut elsewhere.
        """
        for _ in range(_PASSES):
            cleaner = self._cleaner(piece)
            if cleaner == piece:
                break
            piece = cleaner
        return piece

    def _cleaner(self, piece: str) -> str:
        """Clean once; what was taken out may have stood between the parts of something else."""
        if _FENCE.match(piece):
            return _OPENS.sub(r"]\\(", _LOADS.sub("‹", self._unlinked(_without_images(piece), keep=False)))
        out: list[str] = []
        end = 0
        piece = _without_images(piece)
        for span in _SPAN.finditer(piece):
            out += [self._words(piece[end : span.start()]), self._code(span.group())]
            end = span.end()
        return "".join([*out, self._words(piece[end:])])

    def _code(self, span: str) -> str:
        """Clean a code span; where it really begins and ends only the renderer knows, so nothing in it is trusted."""
        inside = self._bare(self._unlinked(span, keep=False))
        return _OPENS.sub(r"]\\(", _LOADS.sub("‹", inside))

    def _words(self, words: str) -> str:
        out: list[str] = []
        end = 0
        words = self._unlinked(words, keep=True)
        for link in _LINK.finditer(words):
            if link[2] in self._allowed:
                out += [self._inert(words[end : link.start()]), f"[{self._inert(link[1])}]({link[2]})"]
                end = link.end()
        return "".join([*out, self._inert(words[end:])])

    def _inert(self, words: str) -> str:
        """Take the meaning from brackets, tags and addresses in plain text."""
        words = _TAG.sub("&lt;", self._bare(words))
        words = _BRACKET.sub(lambda m: m.group() if len(m.group()) > 1 else "\\" + m.group(), words)
        return _MAIL.sub(r"\\@", words)

    def _unlinked(self, words: str, *, keep: bool) -> str:
        """Leave a link's words and take its address out; ``keep`` leaves links to allowed addresses."""

        def words_of(link: re.Match[str]) -> str:
            return link.group() if keep and link[2] in self._allowed else link[1]

        return _LINK.sub(words_of, words)

    def _bare(self, words: str) -> str:
        return _BARE.sub(lambda m: m.group() if self._may_stay(m.group()) else self._gone, words)

    def _may_stay(self, url: str) -> bool:
        bare = url.rstrip(".,;:!?*_")
        if bare in self._allowed:
            return True
        try:
            host = (urlsplit(bare).netloc.rpartition(":")[0] or urlsplit(bare).netloc).lower()
        except ValueError:
            return False
        return host in _HERE and bare.lower().startswith("http")


def _without_images(piece: str) -> str:
    """Leave an image's words only; one may hide in another."""
    for _ in range(_PASSES):
        without = _IMAGE.sub(lambda m: m[1], piece)
        if without == piece:
            break
        piece = without
    return piece


def without_foreign_links(text: str, state: State) -> str:
    """Clean a whole text as its pieces would be one by one."""
    links = links_of(state)
    return "".join(links.clean(piece) for piece in pieces(text))


def links_of(state: State) -> Links:
    """Return what an answer of this turn may link to: the search's hits, and the program's own sources."""
    urls = {hit["url"] for hit in _rows(state, "search_web", "hits")}
    urls |= {model["url"] for model in _rows(state, "look_up_specs", "models")}
    urls |= {one["url"] for entry in _rows(state, "explain_term", "entries") for one in entry["sources"]}
    return Links(frozenset(urls), state.get("reading", {}).get("language", "en"))


def _rows(state: State, tool: str, key: str) -> list[dict[str, Any]]:
    return list((artifact(state, tool) or {}).get(key) or ())
