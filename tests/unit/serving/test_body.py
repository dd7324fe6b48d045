"""The field of a body that routing needs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.body import JsonReader
from serving.errors import Refused, shown

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=5), NAMES, st.booleans())
def test_the_model_is_found_as_json_finds_it(fields: dict[str, Any], name: str, ascii_only: bool) -> None:
    fields["model"] = name
    body = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        assert JsonReader().model(body) == name
    except Refused:  # a lone surrogate somewhere is no text
        assert "\\ud" in json.dumps(fields)


@given(
    st.dictionaries(NAMES, st.integers() | NAMES | st.floats(allow_nan=False, allow_infinity=False), max_size=5), NAMES
)
def test_renaming_changes_the_name_only(fields: dict[str, Any], name: str) -> None:
    reader = JsonReader()
    body = json.dumps(fields | {"model": "old"}).encode()
    assert json.loads(reader.renamed(body, name)) == fields | {"model": name}
    assert reader.model(reader.renamed(body, name)) == name


def test_of_several_models_the_last_counts_as_it_does_for_engines() -> None:
    body = b'{"model":"a","mod\\u0065l":"b"}'
    assert JsonReader().model(body) == json.loads(body)["model"] == "b"
    assert json.loads(JsonReader().renamed(body, "c")) == {"model": "c"}


WORDS = rb""""model" "mod\u0065l" "Model" : , { } [ ] "a" "b\/c" "\ud83d" 1 NaN null {"model":"a"} {"model":"a",
    "x":{"model":"z"}, "model":"b"} "model":1,"""
PIECES = st.sampled_from([*WORDS.split(), b" ", b"\x00", b'"\xff"', b"\xef\xbb\xbf"])


@given(st.lists(PIECES, max_size=10).map(b"".join))
def test_whatever_is_read_is_what_engines_read(body: bytes) -> None:
    try:
        name = JsonReader().model(body)
    except Refused:
        return
    with suppress(UnicodeDecodeError):  # the engine refuses what is no text
        assert json.loads(body)["model"] == name
        assert json.loads(JsonReader().renamed(body, "new"))["model"] == "new"


def test_numbers_stay_as_they_were_written() -> None:
    assert b"1.10" in JsonReader().renamed(b'{"a":1.10,"model":"x"}', "y")
    assert b"1e400" in JsonReader().renamed(b'{"a":[1e400],"model":"x"}', "y")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Refused):
        assert isinstance(JsonReader().model(body), str)


@pytest.mark.parametrize("kind", ["unknown_route", "wrong_key", "gateway_stops"])
def test_refusals_have_openais_shape_in_both_languages(kind: str) -> None:
    refused = Refused(kind, path="/x")
    for language in ("en", "ru"):
        error = json.loads(refused.body(language))["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]


@given(st.text())
def test_what_is_repeated_is_short_and_plain(word: str) -> None:
    assert len(shown(word)) <= 101
    assert shown(word).isprintable()
