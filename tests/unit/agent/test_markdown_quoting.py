"""Foreign text stays text: no links, images, tables, headings or HTML come out of it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agent.answer.markdown import Markdown, environment, gib, group, link, quote_markdown


@given(st.text(max_size=400))
def test_quoted_text_is_one_line_without_active_marks(text: str) -> None:
    quoted = quote_markdown(text)
    assert "\n" not in quoted
    assert "<" not in quoted
    assert len(quote_markdown(text, 20)) <= 20 * 6
    for mark in "`*[]|#~$":
        assert all(quoted[i - 1] == "\\" for i in range(1, len(quoted)) if quoted[i] == mark)
        assert not quoted.startswith(mark)


@given(st.text(alphabet="ab_|\\`", max_size=30))
def test_backslashes_come_in_escaping_pairs(text: str) -> None:
    quoted = quote_markdown(text)
    unescaped = re.sub(r"\\(.)", r"\1", quoted)
    assert unescaped == " ".join(text.split())


def test_addresses_are_not_linked() -> None:
    quoted = quote_markdown("see http://evil.example www.evil.example me@evil.example")
    assert "http://" not in quoted
    assert "www.evil" not in quoted
    assert "e@e" not in quoted


def test_a_link_can_not_be_ended_early() -> None:
    made = link("a](http://evil) <b>", "https://example.org/a) [x](javascript:1)")
    assert made == "[a\\](http\\://evil) &lt;b&gt;](https://example.org/a%29%20%5Bx%5D%28javascript:1%29)"


def test_names_with_underscores_stay_readable() -> None:
    assert quote_markdown("max_model_len") == "max_model_len"
    assert quote_markdown("_emphasis_") == "\\_emphasis\\_"


def test_templates_quote_whatever_they_print() -> None:
    template = environment("en").from_string("{{ name }} {{ size|gib }} {{ count|n }}")
    assert template.render(name="a|b", size=2**30, count=8192) == "a\\|b 1.0 GiB 8,192"


def test_numbers_for_people() -> None:
    assert gib(61_064_245_248) == "56.9 GiB"
    assert group(1_234_567, "ru") == "1\u00a0234\u00a0567"
    assert isinstance(gib(1), Markdown)
