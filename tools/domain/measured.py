"""What one start of an engine measured on one card of the user's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """One start, as its log told it. Sizes are bytes on the fullest rank; None = the log does not say.

    Attributes:
        card: the card's name in the catalogue.
        engine, version: what ran, as printed.
        checkpoint, precision: what was loaded.
        tp, pp: ranks and stages.
        sequences, step_tokens: the settings for which activation and graphs hold.
        enforce_eager: without CUDA graphs.
        date: day on which it was remembered, ``YYYY-MM-DD``.
        log: name of the log's file.
        total_bytes: what the engine sees on the card.
        weights_bytes, non_torch_bytes, activation_bytes: parts of its budget.
        graphs_bytes: CUDA graphs as the engine charges them: the estimate where it makes one, else as captured.
    """

    card: str
    engine: str
    version: str | None
    checkpoint: str
    precision: str
    tp: int
    pp: int
    sequences: int
    step_tokens: int
    enforce_eager: bool
    date: str
    log: str
    total_bytes: int | None = None
    weights_bytes: int | None = None
    non_torch_bytes: int | None = None
    activation_bytes: int | None = None
    graphs_bytes: int | None = None
