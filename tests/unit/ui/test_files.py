from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from prompts import LANGUAGES, messages
from tools.domain import Plan
from tools.errors import NothingFits
from tools.launch.choices import ALLOWED, NAMES, Choices
from tools.launch.generate import TARGETS
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from ui.downloads import FILE_ROUTE, offered_files
from ui.files import FilesView, files_section, target_name, toggled


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B@bf16"], gpu=["RTX PRO 6000"]))


def section(view: FilesView, *, fits: bool = True) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{files_section(view, 'en', fits=fits)}</div>")


def test_links_lead_to_the_files_written(plan: Plan, tmp_path: Path) -> None:
    offered = offered_files(plan, None, "compose", Choices(), language="en", folder=tmp_path)
    again = offered_files(plan, None, "compose", Choices(), language="en", folder=tmp_path)
    assert offered == again, "the same plan gives the same files"
    links = [node.get("href") or "" for node in section(FilesView(offered=offered)).iter("a")]
    assert links == [offered.archive.url, *(file.url for file in offered.files)]
    for link in links:
        path = Path(link.removeprefix(FILE_ROUTE))
        assert path.is_file()
        assert tmp_path in path.parents


def test_every_target_is_a_button_and_the_picked_one_is_pressed() -> None:
    root = section(FilesView("vllm"))
    buttons = {node.get("data-rf-target"): node for node in root.iter("button") if node.get("data-rf-target")}
    assert list(buttons) == list(TARGETS)
    assert [name for name, node in buttons.items() if node.get("aria-pressed") == "true"] == ["vllm"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_target_and_choice_has_a_name(language: str) -> None:
    named = messages(language, "ui")
    assert all(f"files_{target.replace('-', '_')}" in named for target in TARGETS)
    assert all(target_name(target, language) for target in TARGETS)
    for target in TARGETS:
        assert files_section(FilesView(target), language)
    assert {name for target in TARGETS.values() for name in target.choices} <= set(NAMES)


def test_a_choice_is_taken_and_given_up() -> None:
    taken = toggled(Choices(), "page:open-webui")
    assert taken.page == "open-webui"
    assert toggled(taken, "page:rigfit").page == "rigfit"
    assert toggled(taken, "page:open-webui") == Choices()
    assert toggled(Choices(), "cpu:True").cpu is True
    assert toggled(Choices(cpu=True), "cpu:True").cpu is False


@pytest.mark.parametrize("asked", ["", "page", "page:", "page:x", "x:y", "__class__:x", "cpu:False"])
def test_what_is_no_choice_changes_nothing(asked: str) -> None:
    assert toggled(Choices(), asked) == Choices()


def test_choices_of_the_target_are_shown_pressed_where_taken() -> None:
    root = section(FilesView("compose", Choices(page="open-webui")))
    found = {node.get("data-rf-choice"): node.get("aria-pressed") for node in root.iter("button")}
    assert found["page:open-webui"] == "true"
    assert found["page:rigfit"] == "false"
    assert f"endpoint:{ALLOWED['endpoint'][1]}" in found


def test_no_files_for_what_does_not_fit(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(NothingFits):
        offered_files(plan, "as_asked", "compose", Choices(), language="en", folder=tmp_path)
    assert "choose an option" in files_section(FilesView(), "en", fits=False)
