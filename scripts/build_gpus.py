"""Write into tools/specs/data/gpus.jsonl what the engine sees of each card, from cuda_totals.json.

A measured total is taken where there is one (its lower end); else the driver's figure less the stated share. Run it
after any change of either file: ``python scripts/build_gpus.py``. Two runs write the same bytes.
"""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    totals = json.loads((DATA / "cuda_totals.json").read_text(encoding="utf-8"))
    cards = DATA / "gpus.jsonl"
    cards.write_text(build(cards.read_text(encoding="utf-8"), totals), encoding="utf-8")
    for name, (low, high) in totals["measured_gib"].items():
        row = next(json.loads(line) for line in cards.read_text().splitlines() if json.loads(line)["name"] == name)
        if not row["unified"]:
            guess = cuda_total({**row, "name": ""}, totals)[0] / GIB
            print(f"{name}: rule {guess:.2f}, measured {low}-{high}, off by {guess - (low + high) / 2:+.2f} GiB")
