"""Compare Rigfit with other calculators on measured start-ups of vLLM, and write ``docs/peers.md``.

    python scripts/compare_peers.py MEASURED.jsonl --peers .peers/bin [--details FILE] [--output FILE]

``MEASURED.jsonl`` has a start-up a line (``scripts/peers/rows.py`` says which fields are read). The details are each
tool's figure for each row. ``make peers MEASURED=...`` makes the peers' environment first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from peers import report, running, scoring  # noqa: E402
from peers.adapters import ADAPTERS  # noqa: E402
from peers.repositories import repository_of  # noqa: E402
from peers.rows import read  # noqa: E402

from tools.specs.models import ModelCatalogue  # noqa: E402

RIGFIT = Path(sys.executable).parent / "rigfit"
_VERSIONS = (
    "import sys, json; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
)


def versions(binaries: Path) -> dict[str, str]:
    """The peers' versions, as installed."""
    command = [binaries / "python", "-c", _VERSIONS, *ADAPTERS]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(measured: Path, binaries: Path) -> report.Run:
    """Ask all tools about all rows."""
    started = time.monotonic()
    rows, models = read(measured), ModelCatalogue.load()
    known = {name: repository_of(name, models) for name in sorted({row.model for row in rows})}
    served = {name: repository for name, repository in known.items() if repository}
    estimates = running.rigfit(RIGFIT, rows)
    found = [
        figure for row in rows for figure in scoring.figures(scoring.OWN, row, scoring.of_estimates(row, estimates))
    ]
    for tool, row, answer in running.peers(binaries, rows, served):
        found += scoring.figures(tool, row, scoring.of_answer(row, answer))
    return report.Run(
        date=datetime.now(UTC).date().isoformat(),
        figures=found,
        versions=versions(binaries),
        rows=len(rows),
        shared=frozenset(row.id for row in rows if row.model in served),
        unserved=sorted(set(known) - set(served)),
        seconds=time.monotonic() - started,
    )


def main() -> int:
    """Compare, print the tables, and write the page."""
    parser = argparse.ArgumentParser(description="Compare Rigfit with other calculators on measured start-ups.")
    parser.add_argument("measured", type=Path)
    parser.add_argument("--peers", type=Path, required=True, help="the bin folder of the peers' environment")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "peers.md")
    parser.add_argument("--details", type=Path)
    options = parser.parse_args()
    run = compare(options.measured, options.peers.absolute())
    text = report.page(run)
    options.output.write_text(text, encoding="utf-8")
    if options.details:
        lines = (json.dumps(asdict(one) | {"error": one.error}) for one in run.figures)
        options.details.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(text.partition("## How each was asked")[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
