from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from ui.markup import join, tag


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"])), st.text())
def test_text_comes_back_as_it_went_in(inside: str, attribute: str) -> None:
    root = ElementTree.fromstring(tag("p", inside, title=attribute))
    assert (root.text or "") == inside
    assert not list(root)
    assert set(root.attrib) == {"title"}


def test_attributes() -> None:
    assert tag("a", "x", class_="c", data_rf_x=1, hidden=True, title=None, open=False) == (
        '<a class="c" data-rf-x="1" hidden="hidden">x</a>'
    )
    assert tag("br") == "<br/>"
    assert join("<", tag("b", "&"), None) == "&lt;<b>&amp;</b>"
