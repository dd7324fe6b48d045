"""One list out of several engines' answers: a page once, its makers first, safe addresses only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.search.hits import Found, Row
from tools.search.ranking import kind_of, merge, same_page
from tools.search.web import region_of


def found(*urls: str, title: str = "Qwen3-8B") -> Found:
    return Found(200, [Row(title, url, "body") for url in urls])


def test_a_page_that_two_engines_know_is_one_hit_and_stands_higher() -> None:
    one = found("https://a.example/1", "https://www.b.example/x/?utm_source=z#top")
    two = found("https://c.example/3", "http://b.example/x")
    hits = merge("qwen3 8b", [one, two], 10)
    assert hits[0].url == "https://www.b.example/x/?utm_source=z#top"
    assert len(hits) == 3


def test_makers_come_first_where_their_page_is_on_what_was_asked() -> None:
    blog = found("https://blog.example/qwen3-8b")
    card = found("https://other.example/a", "https://huggingface.co/Qwen/Qwen3-8B")
    assert merge("Qwen3-8B memory", [blog, card], 5)[0].url == "https://huggingface.co/Qwen/Qwen3-8B"
    aside = Found(
        200, [Row("Blog on Qwen3-8B", "https://blog.example/", ""), Row("Phi", "https://huggingface.co/p", "")]
    )
    assert merge("Qwen3-8B memory", [aside], 5)[0].url == "https://blog.example/"


def test_one_host_does_not_fill_the_list() -> None:
    many = found(*(f"https://spam.example/{n}" for n in range(8)), "https://other.example/")
    assert [h.url for h in merge("qwen3", [many], 5)][3] == "https://other.example/"


def test_whose_page_an_address_is() -> None:
    assert kind_of("https://docs.vllm.ai/en/latest/") == "engine_docs"
    assert kind_of("https://www.nvidia.com/en-us/geforce/") == "vendor"
    assert kind_of("https://github.com/vllm-project/vllm/issues/1") == "engine_docs"
    assert kind_of("https://github.com/vllm-project-evil/x") == ""
    assert kind_of("https://nvidia.com.evil.example/") == ""
    assert kind_of("https://evilnvidia.com/") == ""


def test_addresses_that_are_no_pages_are_left_out() -> None:
    bad = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://u:p@h.example/", "//h.example/a"]
    bad += ["https://h.example/a b", "https://h.example/<img>", "https://h.example/\x07", "https://" + "a" * 600]
    assert merge("q", [found(*bad)], 10) == ()


@given(st.lists(st.text(max_size=40), max_size=8), st.text(max_size=60), st.integers(1, 10))
def test_any_answer_gives_printable_hits(urls: list[str], title: str, limit: int) -> None:
    hits = merge(title, [found(*urls, *(f"https://h{n}.example/{n}" for n in range(3)), title=title)], limit)
    assert len(hits) <= limit
    assert all(h.title.isprintable() and h.url.startswith(("http://", "https://")) for h in hits)


def test_tracking_and_form_of_an_address_do_not_matter() -> None:
    assert same_page("https://www.a.example/p/?b=2&a=1&fbclid=9") == same_page("http://a.example/p?a=1&b=2#x")
    assert same_page("https://a.example/p?a=1") != same_page("https://a.example/p?a=2")


def test_a_russian_question_is_for_russian_pages() -> None:
    assert region_of("GigaChat сколько памяти") == "ru-ru"
    assert region_of("Qwen3 memory") == "us-en"
