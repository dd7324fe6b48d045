"""A model's text leads nowhere but to what the program found, in whatever form it tries to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.grounding import pieces
from agent.grounding.links import Links

HIT = "https://hit.example/page"
LINKS = Links(frozenset({HIT}), "en")
SNIPPETS = (
    *("[x](https://evil.example)", "![x](https://evil.example)", "<img src=x>", "<https://evil.example>", "[x][1]"),
    *(
        "[1]: h",
        "https://evil.example/a",
        "www.evil.example",
        f"[ok]({HIT})",
        HIT,
        "`",
        "``",
        "```",
        "~~~",
        "\n",
        "\n\n",
    ),
    *("    ", "> ", "- ", "\\", "[", "]", "(", ")", "!", "<", ">", "a ", "It fits. ", "| a | b |\n", "[a](", "]("),
    *(
        "https://",
        "<a href=x>",
        "javascript:alert(1)",
        "[y](javascript:alert(1))",
        "&lt;",
        "&#91;",
        "*",
        "**",
        "_",
        "# ",
    ),
    *("$$", "![[", "]]", "x@y.zz"),
)
TEXTS = st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=6), max_size=14).map("".join)


def clean(text: str) -> str:
    return "".join(LINKS.clean(piece) for piece in pieces(text))


def leads_out(markdown: str) -> list[str]:
    """Links, images and tags that CommonMark would make of a text."""
    found: list[str] = []
    for block in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown):
        for token in (block, *(block.children or ())):
            if token.type in {"link_open", "image"}:
                found.append(str(token.attrGet("href") or token.attrGet("src") or "empty"))
            elif token.type in {"html_block", "html_inline"}:
                found.append(token.content)
    return found


@given(TEXTS)
def test_no_text_leads_anywhere_but_to_a_hit(text: str) -> None:
    assert set(leads_out(clean(text))) <= {HIT}


@given(TEXTS)
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert clean(once) == once


@given(TEXTS)
def test_no_bare_address_is_left_outside_code(text: str) -> None:
    unfenced = re.sub(r"(?ms)^ {0,3}(```|~~~).*", "", clean(text)).replace(HIT, "")
    assert not re.search(r"(?i)(?:https?://|www\.)\w", unfenced)


@given(st.text(alphabet=st.characters(exclude_characters="[]<@`~\\!:./&"), max_size=200))
def test_plain_words_are_left_alone(text: str) -> None:
    if "www" not in text.lower():
        assert LINKS.clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"The [card]({HIT}) says so.",
        "Run `vllm serve Qwen/Qwen3-8B --port 8000` and open http://localhost:8000/v1.",
        "| a | b |\n",
        '```yaml\nimage: "vllm/vllm-openai:v0.32.0"\ncommand: ["--model", "Qwen/Qwen3-8B"]\n```\n',
        "2 < 3, so it fits: 15.3 GiB of 23.6 GiB.",
        "**Yes.** It's 8,192 tokens (at most).",
    ],
)
def test_what_an_answer_needs_stays(text: str) -> None:
    assert clean(text) == text


def test_what_was_taken_out_is_said_in_the_answers_language() -> None:
    assert Links(frozenset(), "ru").clean("Смотри https://evil.example/a.") == "Смотри (ссылка убрана)"
    assert LINKS.clean("See [the docs](https://evil.example).") == "See the docs."
