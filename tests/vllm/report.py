"""Sum up how far the calculator agrees with vLLM, from the answers of the last ``make vllm-test``.

``.venv/bin/python tests/vllm/report.py`` prints the summary; with ``--write`` it goes to ``docs/oracle.md``.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agreement import VERSION, ours, theirs
from oracle import KEPT, ROOT
from reviewed import REVIEWED, review_of

CACHE = ("layers", "block", "block_bytes", "num_blocks", "tokens", "concurrency", "starts")


@dataclass
class Tally:
    """What was compared in a set of cases; ``worst`` is the largest relative difference of parameters, and whose."""

    counts: Counter[str] = field(default_factory=Counter[str])
    worst: tuple[float, str] = (0.0, "-")
    unlike: list[tuple[str, list[str]]] = field(default_factory=list[tuple[str, list[str]]])

    def add(self, case: dict[str, Any], said: dict[str, Any]) -> None:
        """Compare one case with what vLLM said of it."""
        mine = ours(case)
        if "refused" in said:
            self.counts["refused"] += 1
            self.counts["refused by both"] += "refused" in mine
            return self._note(case, [] if "refused" in mine else ["refused"])
        self.counts["answered"] += 1
        if "refused" in mine:
            self.counts["not covered"] += 1
            return self._note(case, ["not covered"])
        off = abs(mine["parameter_bytes"] / said["parameter_bytes"] - 1)
        self.worst = max(self.worst, (off, case["id"]))
        self.counts["to the byte"] += off == 0
        self.counts["within 0.1 %"] += off <= 1e-3
        unlike = [name for name in CACHE if mine[name] != said[name]]
        self.counts["caches"] += not unlike
        self._note(case, (["parameter_bytes"] if off else []) + unlike)
        return None

    def _note(self, case: dict[str, Any], unlike: list[str]) -> None:
        if unlike:
            self.unlike.append((case["id"], unlike))


def rows(name: str, tally: Tally) -> Iterator[str]:
    """Yield one line of the table."""
    count = tally.counts
    answered = max(1, count["answered"])
    cells = [
        name,
        f"{count['answered']:,}",
        f"{count['to the byte']:,} ({count['to the byte'] / answered:.1%})",
        f"{count['within 0.1 %'] / answered:.1%}",
        f"{tally.worst[0]:.3%} ({tally.worst[1]})" if tally.worst[0] else "none",
        f"{count['caches']:,} ({count['caches'] / answered:.1%})",
        f"{count['refused by both']} of {count['refused']}",
    ]
    yield "| " + " | ".join(cells) + " |"


def document(tallies: dict[str, Tally]) -> Iterable[str]:
    """Yield the lines of ``docs/oracle.md``."""
    yield "# How far the calculator agrees with vLLM"
    yield ""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    yield f"Written by `tests/vllm/report.py` on {today}: vLLM {VERSION}'s own code on the meta device, as on an H100"
    yield "(FP4: as on a Blackwell card), against `rigfit estimate`. *Parameters* are `parameter_bytes_per_gpu`."
    yield "*Caches* are each layer's pages, the block size, bytes of a block, blocks, tokens and concurrency of a given"
    yield "pool, and whether the engine starts: all of them equal."
    yield ""
    yield "| cases | answered | parameters to the byte | within 0.1 % | worst | caches exact | refusals shared |"
    yield "|---|---|---|---|---|---|---|"
    for name, tally in tallies.items():
        yield from rows(name, tally)
    yield ""
    yield "Generated cases are made by `tests/vllm/cases/`; literal ones are the configs of `aiconfigurator-core`, each"
    yield "on 1, 2, 4 and 8 GPUs."
    known = [(case, unlike) for tally in tallies.values() for case, unlike in tally.unlike]
    if known:
        yield from ("", "## Differences", "", "| case | what differs | why |", "|---|---|---|")
    for (stem, unlike, reason), ranks in grouped(known).items():
        yield f"| {stem} on {', '.join(ranks)} | {unlike} | {reason} |"
    idle = [one.id for one in REVIEWED if not any(case.startswith(one.id) for case, _ in known)]
    if idle:
        yield from ("", f"Reviewed, but no longer differing: {', '.join(idle)}.")


def grouped(known: list[tuple[str, list[str]]]) -> dict[tuple[str, str, str], list[str]]:
    """Put numbers of ranks together for which the same model differs alike."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for case, unlike in known:
        stem, _, ranks = case.rpartition("-tp")
        review = review_of(case)
        key = stem, ", ".join(unlike), review.reason if review else "not reviewed"
        found.setdefault(key, []).append(ranks)
    return found


def last_answers(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield cases with what vLLM said last; of generated ones not asked here, what is recorded for the unit tests."""
    kept = KEPT / f"{name}.json"
    if kept.exists():
        yield from ((case, theirs(answer or {"error": "no answer"})) for case, answer in json.loads(kept.read_text()))
        return
    for recorded in sorted((ROOT / "tests" / "unit" / "vram").glob("registered-*.jsonl.gz")):
        for line in gzip.decompress(recorded.read_bytes()).decode().splitlines():
            entry = json.loads(line)
            yield entry["case"], entry["said"]


def main() -> None:
    tallies: dict[str, Tally] = {}
    for name in ("generated", "literal"):
        tally = tallies[name] = Tally()
        for case, said in last_answers(name):
            tally.add(case, said)
    text = "\n".join(document(tallies)) + "\n"
    sys.stdout.write(text)
    if "--write" in sys.argv:
        (ROOT / "docs" / "oracle.md").write_text(text)


if __name__ == "__main__":
    main()
