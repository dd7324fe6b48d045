from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tools.launch.yaml_text import Block, Commented, EnvRef, Flow, dump

printable = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=60)
keys = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=140)
values = st.recursive(
    st.one_of(printable, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@given(document=st.dictionaries(keys, values, max_size=5), header=st.lists(printable, max_size=3))
def test_what_is_written_reads_back(document: dict[str, Any], header: list[str]) -> None:
    assert read(dump(document, header=tuple(header), dollar="$")) == document


@given(comment=printable, value=values)
def test_a_comment_stays_a_comment(comment: str, value: Any) -> None:
    text = dump({"a": Commented(value, comment, "second"), "b": {"c": Commented([1], comment)}}, dollar="$")
    assert read(text) == {"a": value, "b": {"c": [1]}}
    assert "# second" in text


def test_comments_stand_above_their_key_at_its_depth() -> None:
    text = dump({"a": 1, "b": {"c": Commented("x", "why", "how")}}, header=("top",))
    assert text == "# top\n\na: 1\nb:\n\n  # why\n  # how\n  c: x\n"


def test_only_references_keep_their_dollar_for_compose() -> None:
    assert read(dump({"a": "$HOME", "b": EnvRef("${HOME}")})) == {"a": "$$HOME", "b": "${HOME}"}


def test_blocks_and_short_lists() -> None:
    text = dump({"a": Block("one\ntwo\n"), "b": Flow(["x", "1"]), "c": [], "d": {}})
    assert text == 'a: |\n  one\n  two\nb: [x, "1"]\nc: []\nd: {}\n'


def test_text_that_looks_like_something_else_is_quoted() -> None:
    words = [
        "no",
        "on",
        "1e3",
        "0x10",
        "2026-01-01",
        "null",
        "~",
        "-",
        "a: b",
        "a #b",
        "&a",
        "*a",
        "!x",
        "%x",
        "12:30",
        "",
    ]
    text = dump({"words": words})
    assert read(text) == {"words": words}
    assert all(line.endswith('"') for line in text.splitlines()[1:])
