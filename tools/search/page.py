"""The readable text of a page, by trafilatura, in a process with limits: parsers of strangers' HTML may hang.

``python -m tools.search.page`` reads ``{"html", "url"}`` and writes ``{"title", "date", "text"}``, both as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.search.fetch import Download
from tools.search.hits import TITLE_CHARS, one_line

TEXT_CHARS = 40_000
"""Most of a page's text that is read on."""
_MEMORY_BYTES = 1024 * 1024 * 1024
_CPU_S = 5
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read.

    Attributes:
        url: the hit's address, which is cited.
        date: ISO day it says it was published or changed on; empty = it does not say.
        text: its readable text, a paragraph or table row a line.
    """

    title: str
    url: str
    date: str
    text: str


def read_page(found: Download, url: str, timeout_s: float) -> Page:
    """Return the readable text of what was fetched for the hit at ``url``.

    Raises:
        OSError: nothing readable is there.
        TimeoutError: reading it took longer than ``timeout_s``.
    """
    text = _decoded(found)
    if found.kind.startswith("text/") and found.kind != "text/html":
        return Page("", url, "", _plain(text))
    asked = json.dumps({"html": text, "url": found.url})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.search.page"],
            input=asked.encode(),
            capture_output=True,
            timeout=timeout_s,
            cwd=_ROOT,
            env={"PYTHONUTF8": "1"},
            check=True,
        )
        data: Any = json.loads(done.stdout)
        title, date, body = str(data["title"]), str(data["date"]), str(data["text"])
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    except (subprocess.CalledProcessError, ValueError, KeyError, TypeError) as error:
        raise OSError("nothing readable") from error
    if not body:
        raise OSError("nothing readable")
    return Page(one_line(title, TITLE_CHARS), url, date[:10], body)


def _decoded(found: Download) -> str:
    try:
        return found.body.decode(found.charset or "utf-8", errors="replace")
    except LookupError:
        return found.body.decode(errors="replace")


def _plain(text: str) -> str:
    lines = ("".join(c if c.isprintable() else " " for c in line).strip() for line in text[:TEXT_CHARS].splitlines())
    return "\n".join(line for line in lines if line)


def main() -> None:
    """Read one page from standard input; memory and processor time are limited first."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    asked = json.load(sys.stdin)
    from trafilatura import bare_extraction

    # a date that is only guessed from the words of a page is none
    dates = {"extensive_search": False, "original_date": True, "outputformat": "%Y-%m-%d"}
    found: Any = bare_extraction(
        asked["html"], url=asked["url"], with_metadata=True, include_comments=False, date_extraction_params=dates
    )
    text = _plain(found.text or "") if found else ""
    answer = {"title": (found.title or "") if found else "", "date": (found.date or "") if found else "", "text": text}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
