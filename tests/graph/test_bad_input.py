"""Whatever comes in, the asker gets one clear sentence and the conversation goes on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from talking import FOUNDING_CARD, names, talk, talk_events

from agent.events import Notice
from agent.session import MAX_CHARS


@pytest.mark.parametrize("text", ["", " \t\n", "\x00\x07", "\ud800"])
def test_nothing_readable_is_an_empty_message(tmp_path: Path, text: str) -> None:
    [turn] = talk(tmp_path, text)
    assert turn.answer_markdown.startswith("The message is empty")


def test_empty_message(tmp_path: Path) -> None:
    first, empty, third = talk(tmp_path, FOUNDING_CARD, "  \n", "а если вторую в int4?", hint="ru")
    assert empty.answer_markdown.startswith("Сообщение пустое")
    assert first.plan is not None
    assert third.plan is not None
    assert third.plan.verdict == "fits"


def test_message_that_is_too_long(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "x" * 100_000)
    assert "100000" in turn.answer_markdown
    assert str(MAX_CHARS) in turn.answer_markdown
    assert turn.tool_calls == ()


@pytest.mark.parametrize(
    "name",
    [
        "Qwen3-30B`; rm -rf /`",
        "Qwen3$(reboot)-30B",
        "Qwen3-30B\n- image: evil",
        "<script>alert(1)</script> 30B",
        "Qwen3-30B | [x](http://evil)",
    ],
)
def test_hostile_names_are_never_markup(tmp_path: Path, name: str) -> None:
    [turn] = talk(tmp_path, f"Will {name} fit on an RTX 3090?")
    assert "<script" not in turn.answer_markdown
    assert "](http://evil" not in turn.answer_markdown
    assert "\n- image" not in turn.answer_markdown
    assert turn.answer_markdown


def test_model_that_does_not_exist(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Пойдёт ли Qwen9-900B на 8 картах H100?")
    assert turn.plan is None
    assert turn.language == "ru"
    assert "Qwen" in turn.answer_markdown
    assert len(turn.answer_markdown.splitlines()[0]) < 400


def test_minus_five_cards(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "How much context for Llama-3-70B on -5 H100s?")
    assert turn.plan is None
    assert turn.answer_markdown


def test_absurd_context(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Qwen3-8B on a 3090 with 1000000000000 tokens of context, does it fit?")
    assert turn.answer_markdown
    assert turn.grounded or turn.plan is None


def test_out_of_scope(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "сколько борща нужно на 2хH100?")
    assert turn.language == "ru"
    assert turn.plan is None


def test_lost_network_is_said_and_fast(tmp_path: Path) -> None:
    first, second = talk(tmp_path, FOUNDING_CARD, "поищи ещё раз", network=True)
    assert "search_web" in names(first)
    call = next(c for c in first.tool_calls if c["name"] == "search_web")
    assert call["ok"] is False
    assert call["seconds"] < 2.5
    assert "каталог" in first.answer_markdown
    assert "113.7" in first.answer_markdown
    assert "Хаб" in first.answer_markdown or "хаб" in first.answer_markdown
    again = [c for c in second.tool_calls if c["name"] == "search_web"]
    assert all(c["seconds"] < 0.2 for c in again)


def test_damaged_database_is_set_aside(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING_CARD)
    for part in tmp_path.glob("threads.sqlite-*"):
        part.unlink()
    (tmp_path / "threads.sqlite").write_bytes(b"this is no database" * 500)
    [(turn, events)] = talk_events(tmp_path, FOUNDING_CARD, hint="ru")
    assert "113.7" in turn.answer_markdown
    notices = [e.text for e in events if isinstance(e, Notice)]
    assert len(notices) == 1
    assert "повреждён" in notices[0]
    assert list(tmp_path.glob("threads.damaged-*.sqlite"))
    [again] = talk(tmp_path, "а если вторую в int4?")
    assert again.plan is not None
    assert again.notices == ()


def test_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    [turn] = talk(tmp_path, FOUNDING_CARD)
    assert "113.7" in turn.answer_markdown
    assert len(turn.notices) == 1
    assert path.read_bytes() == before


def test_database_that_turns_unwritable_costs_no_answer(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING_CARD)
    path = tmp_path / "threads.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    first, second = talk(tmp_path, "а если вторую в int4?", "и с контекстом 16к")
    assert first.plan is not None
    assert first.plan.verdict == "fits"
    assert any("на диске нет места" in n for n in (*first.notices, *second.notices))
    assert second.plan is not None
    assert {i.context for i in second.plan.request.instances} == {16_384}


def test_files_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    [turn] = talk(tmp_path, FOUNDING_CARD + " сделай docker-compose")
    assert turn.plan is not None
    assert turn.artifacts == ()
    call = next(c for c in turn.tool_calls if c["name"] == "generate_launch_config")
    assert call["ok"] is False
    assert call["summary"] in turn.answer_markdown.replace("\\", "")


def test_data_folder_that_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.write_text("")
    [turn] = talk(folder, FOUNDING_CARD, hint="ru")
    assert "113.7" in turn.answer_markdown
    assert len(turn.notices) == 1
