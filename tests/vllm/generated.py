"""All generated cases; as a script, prints those whose id has a part that is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cases import cache, dense, drafts, formats, gemma, hybrid, mla, moe, others, parallel, towers, wrapped

GROUPS = {
    module.__name__.removeprefix("cases."): module.cases
    for module in (dense, moe, formats, gemma, mla, hybrid, towers, others, cache, parallel, drafts, wrapped)
}


def cases(*groups: str) -> Iterator[dict[str, Any]]:
    """Yield the cases of the groups named, or of all; ids are prefixed with the group."""
    for name in groups or GROUPS:
        for case in GROUPS[name]():
            yield {"pool_bytes": 16 << 30, **case, "id": f"{name}/{case['id']}"}


if __name__ == "__main__":
    for case in cases():
        if any(part in case["id"] for part in sys.argv[1:] or [""]):
            print(json.dumps(case))
