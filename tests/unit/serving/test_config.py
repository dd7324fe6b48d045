"""What is read from the words of ``rigfit gateway``."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.addresses import NearResolver, is_near
from serving.choice import Choice
from serving.config import Upstream, read_aliases, read_keys, read_upstreams
from serving.keys import KeyRing
from serving.upstreams import Upstreams
from tools.errors import BadValue


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("m=http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("m=http://127.0.0.1:8001/", "http://127.0.0.1:8001"),
        ("m=http://LOCALHOST:8001/v1/", "http://localhost:8001"),
        ("m=http://[::1]:8001/v1", "http://[::1]:8001"),
        ("m=http://engine-a:8000", "http://engine-a:8000"),
        ("m=https://10.0.0.7/openai/v1", "https://10.0.0.7/openai"),
    ],
)
def test_an_upstream_is_a_name_and_an_address(word: str, url: str) -> None:
    assert read_upstreams([word]) == (Upstream("m", url),)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("m", "errors_serving.bad_upstream"),
        ("=http://127.0.0.1", "errors_serving.bad_upstream"),
        ("m\n=http://127.0.0.1", "errors_serving.bad_upstream"),
        ("x" * 300 + "=http://127.0.0.1", "errors_serving.bad_upstream"),
        ("m=127.0.0.1:8000", "errors_serving.bad_url"),
        ("m=file:///etc/passwd", "errors_serving.bad_url"),
        ("m=http://", "errors_serving.bad_url"),
        ("m=http://user:word@127.0.0.1", "errors_serving.bad_url"),
        ("m=http://127.0.0.1?x=1", "errors_serving.bad_url"),
        ("m=http://127.0.0.1#x", "errors_serving.bad_url"),
        ("m=http://127.0.0.1:99999", "errors_serving.bad_url"),
        ("m=http://127.0.0.1:0", "errors_serving.bad_url"),
        ("m=http://[::1", "errors_serving.bad_url"),
        ("m=http://127.0.0.1/a b", "errors_serving.bad_url"),
        ("m=http://8.8.8.8", "errors_serving.far_upstream"),
        ("m=http://169.254.169.254", "errors_serving.far_upstream"),
        ("m=http://0.0.0.0:8000", "errors_serving.far_upstream"),
        ("m=http://[2001:db8::1]", "errors_serving.far_upstream"),
        ("m=http://[::ffff:8.8.8.8]", "errors_serving.far_upstream"),
    ],
)
def test_what_is_no_upstream_is_said(word: str, code: str) -> None:
    with pytest.raises(BadValue) as error:
        read_upstreams([word])
    assert error.value.code == code


def test_public_addresses_are_a_choice() -> None:
    assert read_upstreams(["m=https://8.8.8.8/v1"], far=True) == (Upstream("m", "https://8.8.8.8"),)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "fd00::1"]
)
def test_near(address: str) -> None:
    assert is_near(address)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "172.32.0.1", "0.0.0.0", "224.0.0.1", "fe80::1", "::", "1.1.1.1", "x", "127.1"]
)
def test_far(address: str) -> None:
    assert not is_near(address)


def test_names_are_looked_up_and_far_answers_dropped() -> None:
    """134744072 is 8.8.8.8 and 2130706433 is 127.0.0.1, written as the C library also reads addresses."""

    async def addresses(host: str) -> list[str]:
        return [found["host"] for found in await NearResolver().resolve(host, 80)]

    assert asyncio.run(addresses("2130706433")) == ["127.0.0.1"]
    assert asyncio.run(addresses("localhost"))
    with pytest.raises(OSError, match="no address"):
        asyncio.run(addresses("134744072"))


@given(st.text(max_size=40))
def test_any_word_is_read_or_refused(word: str) -> None:
    for words in ([word], [f"m={word}"], [f"m=http://{word}"]):
        try:
            for upstream in read_upstreams(words):
                assert upstream.url.startswith(("http://", "https://"))
        except BadValue:
            pass


def test_keys_of_engines_by_name_or_for_all() -> None:
    words = ["a=http://127.0.0.1:1", "b=http://127.0.0.1:2", "c=http://127.0.0.1:3"]
    found = read_upstreams(words, keys=["b=KEY_B", "KEY"])
    assert [upstream.key_env for upstream in found] == ["KEY", "KEY_B", "KEY"]
    for bad in ("nosuch=KEY", "a=", "KEY WORD", "a=sk-123"):
        with pytest.raises(BadValue):
            read_upstreams(words, keys=[bad])


def test_aliases() -> None:
    assert read_aliases(["x=org/m", "y=org/m", "x=org/m"], ["org/m"]) == {"x": "org/m", "y": "org/m"}
    for bad in ("x", "=org/m", "x=", "x=nosuch", "org/m=org/m"):
        with pytest.raises(BadValue):
            read_aliases([bad], ["org/m"])
    with pytest.raises(BadValue):
        read_aliases(["x=a", "x=b"], ["a", "b"])


def test_client_keys() -> None:
    assert read_keys(["# note", "", " abc ", "d-e_f"]) == ("abc", "d-e_f")
    for bad in ([], ["# only"], ["two words"], ["кл"], ["a\x00b"]):
        with pytest.raises(BadValue):
            read_keys(bad)


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_the_key_itself_opens(shown: str, other: str) -> None:
    ring = KeyRing(("right-key", "second"))
    assert ring.allows(f"Bearer {shown}", other) == (shown.strip() in {"right-key", "second"})
    assert ring.allows("", other) == (other in {"right-key", "second"})
    assert KeyRing(()).allows(shown, other)


def test_one_address_is_one_engine_and_one_name_may_have_many() -> None:
    table = Upstreams.of(read_upstreams(["a=http://127.0.0.1:1", "b=http://127.0.0.1:1", "b=http://127.0.0.1:2"]), {})
    assert len(table.engines) == 2
    first, second = table.models["b"]
    assert table.models["a"] == (first,)
    first.in_flight = 3
    assert Choice(table.models["b"], {}, "b").next() is second
    second.healthy = False
    choice = Choice(table.models["b"], {}, "b")
    assert (choice.next(), choice.is_last) == (first, False)
    assert (choice.next(), choice.is_last) == (second, True)
    assert choice.next() is None
