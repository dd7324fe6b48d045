"""Write tools/specs/data/models.index.json from models.jsonl: names taken apart and where each line begins.

Run it after any change of models.jsonl: ``python scripts/build_index.py``. Two runs write the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.specs.model_index import BY_ID
from tools.specs.names import catalogue_name, parse_name, tokens

DATA = Path(__file__).resolve().parents[1] / "tools" / "specs" / "data"


def entry(row: dict[str, Any], start: int, length: int) -> list[Any]:
    name = catalogue_name(row["hf_id"])
    mark = BY_ID if row.get("by_id") else ""
    return [
        row["hf_id"],
        start,
        length,
        row.get("params_total") or 0,
        row.get("hub_downloads") or 0,
        mark + name.family,
        list(name.versions),
        name.size_b,
        sorted(name.words),
    ]


def special_aliases(row: dict[str, Any]) -> list[str]:
    """Aliases whose words the name itself does not hold, so that taking the name apart can not find them."""
    own = set(tokens(row["hf_id"].split("/")[-1]))
    found: list[str] = []
    for alias in row.get("aliases", []):
        words = tokens(alias)
        if not set(words) <= own and parse_name(alias).family:
            found.append(" ".join(words))
    return found


def build(lines: bytes) -> str:
    """Return the index's text for the content of models.jsonl."""
    rows: list[list[Any]] = []
    aliases: dict[str, list[int]] = {}
    repos: dict[str, int] = {}
    newest, start = "", 0
    for line in lines.splitlines(keepends=True):
        row = json.loads(line)
        for alias in special_aliases(row):
            aliases.setdefault(alias, []).append(len(rows))
        for repo in (*(line["repo"] for line in row.get("quantized", [])), *row.get("relatives", [])):
            repos.setdefault(repo.lower(), len(rows))
        newest = max(newest, row.get("release_date") or "")
        rows.append(entry(row, start, len(line)))
        start += len(line)
    parts = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    head = json.dumps({"date": newest, "aliases": aliases, "repos": repos}, sort_keys=True, separators=(",", ":"))
    return f'{head[:-1]},"rows":[\n{parts}\n]}}\n'


if __name__ == "__main__":
    (DATA / "models.index.json").write_text(build((DATA / "models.jsonl").read_bytes()), encoding="utf-8")
