"""This machine's hardware is offered, taken when accepted, and never taken unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from talking import FOUNDING, names, talk, talk_events

from agent.events import Asked
from tools.specs.probes import AppleChip, Card

MACHINES = Path(__file__).parents[1] / "fixtures" / "machines"


class Recorded:
    """Answers of a machine read from a fixture."""

    def __init__(self, name: str) -> None:
        self._data: dict[str, Any] = json.loads((MACHINES / f"{name}.json").read_text())

    def nvidia(self) -> tuple[Card, ...]:
        return tuple(Card(**card) for card in self._data.get("nvidia", []))

    def amd(self) -> tuple[Card, ...]:
        return ()

    def apple(self) -> AppleChip | None:
        return None

    def ram_bytes(self) -> int | None:
        return self._data["ram_bytes"]

    def disk_free_bytes(self) -> int | None:
        return self._data["disk_free_bytes"]


@pytest.mark.parametrize("reply", ["да", "На этой машине", "да, эта карта"])
def test_card_is_asked_for_offered_and_taken_on_a_yes(tmp_path: Path, reply: str) -> None:
    probes = Recorded("rtx-pro-6000-desktop")
    (first, events), (second, _) = talk_events(tmp_path, FOUNDING, reply, rig="detect", probes=probes)
    assert first.plan is None
    assert "RTX PRO 6000" in first.answer_markdown
    [asked] = [e for e in events if isinstance(e, Asked)]
    assert asked.offered_rig is not None
    assert asked.offered_rig.gpus[0].reserved_bytes > 0
    assert "На этой машине" in first.suggestions
    assert second.plan is not None
    assert second.plan.request.rig.gpus[0].reserved_bytes > 0
    assert "113.7" in second.answer_markdown


def test_this_machine_said_at_once(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Does Qwen3-8B fit on this machine?", rig="detect", probes=Recorded("rtx-pro-6000-desktop"))
    assert "detect_hardware" in names(turn)
    assert turn.plan is not None
    assert turn.plan.verdict == "fits"


def test_another_card_named_after_the_offer_wins(tmp_path: Path) -> None:
    _, turn = talk(tmp_path, FOUNDING, "да не, 3090", rig="detect", probes=Recorded("rtx-pro-6000-desktop"))
    assert turn.plan is not None
    assert "3090" in turn.plan.request.rig.gpus[0].name


def test_no_card_on_this_machine_only_asks(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING, rig="detect", probes=Recorded("no-gpu"))
    assert turn.plan is None
    assert turn.suggestions == ()
    assert len(turn.asks) == 1


def test_a_rig_that_may_not_be_looked_at_is_not(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING, rig=None, probes=Recorded("rtx-pro-6000-desktop"))
    assert "detect_hardware" not in names(turn)
    assert "6000" not in turn.answer_markdown
