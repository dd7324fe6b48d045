"""What is pasted rather than said: links, and what a log prints before each message."""

from __future__ import annotations

import re

from agent.reader.lazy import Lazy

_HUB_LINK = Lazy(
    r"(?<![\w.-])(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|modelscope\.cn/models|ollama\.com/library(?=/))/"
    r"(?!(?:datasets|spaces|docs|blog|papers|collections|models|posts|learn|settings)(?![\w-]))"
    r"([\w.-]{1,60}(?:/[\w.-]{0,79}\w)?(?::\w[\w.-]{0,40})?)(?:[/?#][^\s<>\"'()\[\],;]{0,200})?",
    re.IGNORECASE,
)
"""A model's page, or what lies under it ("/tree/main", "?library=vllm")."""
_LINK = Lazy(r"https?://[^\s<>\"'()]{1,400}", re.IGNORECASE)
_LINK_NUMBER = Lazy(r"/\d+(?=$|[/?#.,:])")
_PROCESS = Lazy(
    r"\([^()\n]{0,60}\bpid[=: ]\s?\d+[^()\n]{0,60}\)|(?<=\w)\[\d{1,8}\](?=:)|\bpid[=: ]\s?\d+", re.IGNORECASE
)
_PROCESS_NUMBER = Lazy(r"(?<=\bprocess )\d{1,8}(?= has\b)", re.IGNORECASE)
_STAMP = Lazy(
    r"\[?(?:\b\d{4}[-/]|(?:\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6} ))?"
    r"(?:\b\d{1,2}(?:[-/]\d{1,2})?[ T])?\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
    r"(?: (?:TP|DP|PP|EP)\d+)*\]?"
    r"|(?<=\binfo )\d{2}-\d{2}\b|(?<=\berror )\d{2}-\d{2}\b|(?<=\bwarning )\d{2}-\d{2}\b|(?<=\bdebug )\d{2}-\d{2}\b",
    re.IGNORECASE,
)
_SOURCE_LINE = Lazy(
    r"\[?(?<![\w./-])[\w./-]{1,80}\.(?:py|cc|cpp|cu|cuh|c|h|hpp|go|rs):\d{1,6}\]?|(?<=\", )line \d{1,6}", re.IGNORECASE
)
_RANK = Lazy(r"\[?\b(?:local[_ ]?|global[_ ]?|tp[_ ]?|dp[_ ]?|pp[_ ]?)?rank[ =:_]{0,2}\d{1,4}\b\]?:?", re.IGNORECASE)
_ADDRESS = Lazy(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.])")


def without_pasted(text: str) -> str:
    """Leave of links the model that they lead to, and of log lines the message.

    Args:
        text: what the asker wrote.

    Returns:
        The text with ``owner/name`` for a link to a model, without the numbers of issues in other links, and
        without the times, process and line numbers, ranks and addresses that logs print.
    """
    text = _HUB_LINK.sub(r"\1 ", text)
    text = _LINK.sub(lambda found: _LINK_NUMBER.sub("", found.group()), text)
    for pattern in (_PROCESS, _PROCESS_NUMBER, _STAMP, _SOURCE_LINE, _RANK, _ADDRESS):
        text = pattern.sub(" ", text)
    return text
