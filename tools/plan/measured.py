"""A request's cards with what the user's own starts measured on such cards, said among the assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tools.domain import Measured, PlanRequest, note
from tools.vram.calibration import with_measured


def with_own(request: PlanRequest, measured: Sequence[Measured]) -> PlanRequest:
    """Return a request that is planned with what was measured.

    Args:
        request: what is asked.
        measured: all measurements, newest first.
    """
    if not measured:
        return request
    cards = with_measured(request.rig.gpus, measured)
    wanted = {checkpoint.repo for one in request.instances for checkpoint in one.model.checkpoints}
    mine = dict.fromkeys(one for card in cards for one in card.measured if one.checkpoint in wanted)
    said = tuple(
        note("calibration.used", card=one.card, date=one.date, log=one.log, model=one.checkpoint) for one in mine
    )
    return replace(request, rig=replace(request.rig, gpus=cards), assumptions=(*request.assumptions, *said))
