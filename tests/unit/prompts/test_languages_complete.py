"""Both languages say everything, with the same placeholders; every answer template exists twice and parses."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest

from agent.answer.markdown import environment
from prompts import LANGUAGES

ROOT = Path(str(resources.files("prompts")))
SPACES = sorted({p.stem for p in ROOT.glob("messages/*/*.toml")})
TEMPLATES = sorted({p.name for p in ROOT.glob("answers/*/*.j2")})


def table(language: str, space: str) -> dict[str, str]:
    return tomllib.loads((ROOT / "messages" / language / f"{space}.toml").read_text(encoding="utf-8"))


def placeholders(text: str) -> set[str]:
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("space", SPACES)
def test_messages_of_both_languages_match(space: str) -> None:
    english, russian = (table(language, space) for language in LANGUAGES)
    assert english.keys() == russian.keys()
    for name, text in english.items():
        assert placeholders(text) == placeholders(russian[name]), f"{space}.{name}"


@pytest.mark.parametrize("space", SPACES)
def test_messages_are_one_line_and_russian_is_russian(space: str) -> None:
    for language in LANGUAGES:
        for name, text in table(language, space).items():
            assert text.strip(), f"{space}.{name}"
    for name, text in table("en", space).items():
        assert not re.search("[а-яё]", text, re.IGNORECASE), f"{space}.{name}"


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_parses_in_both_languages(template: str, language: str) -> None:
    assert environment(language).get_template(template)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_of_both_languages_print_the_same_things(template: str) -> None:
    def printed(language: str) -> set[str]:
        text = (ROOT / "answers" / language / template).read_text(encoding="utf-8")
        return {re.sub(r"\s+", "", found) for found in re.findall(r"\{\{(.*?)\}\}", text) if '"' not in found}

    assert printed("en") == printed("ru")


def test_every_message_code_in_the_sources_exists() -> None:
    codes = {f"{space}.{name}" for space in SPACES for name in table("en", space)}
    codes.add("ui.language")  # answered by the page itself: its current language
    pattern = re.compile(rf'(?<!`)"((?:{"|".join(SPACES)})\.[a-z0-9_]+)"')
    root = ROOT.parent
    modules = {".".join(p.relative_to(root).with_suffix("").parts) for p in root.glob("[atsu]*/*/*.py")}
    modules |= {name.rpartition(".")[0] for name in modules}
    for folder in ("agent", "tools", "serving", "ui"):
        for file in (root / folder).rglob("*.py"):
            for code in pattern.findall(file.read_text(encoding="utf-8")):
                assert code in codes or code in modules, f"{file.relative_to(root)}: {code}"
