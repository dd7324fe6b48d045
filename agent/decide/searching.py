"""When the web is searched, and for what: the asker's own names, in the language in which most is written on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.logs import without_log

_NEWS = re.compile(
    r"\bnews\b|\bwhat'?s new\b|\blatest (?:[\w.-]{1,30} ){0,2}(?:release|version|model|news)s?\b|\bannounce[ds]?\b"
    r"|\brelease date\b|\bcame out\b|\bcoming out\b|\b(?:been|just|already) released\b|\breleased yet\b|\bout yet\b"
    r"|\bnew\b.{1,40}\bout\s*\?|\brumou?rs?\b"
    r"|\bновост\w*|\bчто нового\b|\bанонс\w*|\bвыш(?:ла|ло|ли|ел) ли\b|\bкогда (?:выйдет|выйдут|вышла|вышел|релиз)\b"
    r"|\b(?:уже|недавно|только что) (?:\w{1,30} ){0,2}выш(?:ла|ло|ли|ел)\b|\bслухи\b"
    r"|\bпоследн\w{1,4} (?:\S{1,30} ){0,2}(?:верси|релиз|модел)\w*",
    re.IGNORECASE,
)
_RUSSIAN_MODEL = re.compile(
    r"giga-?chat|yandex|saiga|vikhr|t-?(?:lite|pro)\b|ru(?:gpt|bert|dolphin)|cotype", re.IGNORECASE
)
"""Families whose makers write of them in Russian."""
_ASIDE = frozenset(
    {"can", "could", "you", "please", "pls", "search", "google", "look", "find", "check", "browse", "the", "web", "me"}
    | {"online", "internet", "it", "up", "for", "on", "of", "a", "an", "to", "and", "i", "do", "does", "is", "in"}
    | {"are", "will", "would", "if", "actually", "first", "there", "any", "some"}
    | {"поищи", "поищите", "поискать", "погугли", "погуглите", "загугли", "найди", "найдите", "посмотри", "в", "во"}
    | {"интернете", "интернет", "сети", "ты", "вы", "можешь", "можете", "именно", "пожалуйста", "плиз", "мне", "про"}
    | {"о", "это", "об", "и", "а", "ли", "на", "есть", "какие", "какой", "какая", "там", "ну", "давай"}
)  # fmt: skip
"""Words of a request that say nothing of what is looked for."""
_TOPIC_WORDS = 12
_WORD = re.compile(r"[^\W_][\w.+/-]{0,40}")
_TOPICS: Mapping[str, tuple[str, str]] = {
    "news": ("news release", "новости выход"),
    "model": ("model card parameters context length", "модель параметры контекст"),
    "card": ("specifications memory bandwidth", "характеристики память пропускная способность"),
    "fit": ("vLLM GPU memory", "vLLM видеопамять"),
}
"""What is asked of what is named, in English and in Russian."""


def asks_for_news(turn: str) -> bool:
    """Tell whether a message asks for what a catalogue can't know: "any news about Qwen4?", "вышла ли Gemma 4?"."""
    return bool(_NEWS.search(without_log(turn)[:2000]))


def search_query(reading: Mapping[str, Any], turn: str, failures: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write the query of a web search.

    Model cards, datasheets and engines' pages are in English, so that is what is asked of them whoever asks; news, a
    Russian maker's models and what has no name are looked for in the asker's language.

    Args:
        reading: what was understood.
        turn: the asker's last message.
        failures: look-ups that found nothing; what they lack is looked for alone.
    """
    lacking = {"card" if "gpu" in str(failure.get("code")) else "model" for failure in failures}
    models = [] if lacking == {"card"} else _models(reading)
    cards = [] if lacking == {"model"} else _cards(reading)
    names = " ".join(dict.fromkeys([*models, *cards]))
    russian = reading.get("language") == "ru"
    if not names:
        return _topic(turn) or _TOPICS["fit"][russian]
    kind = "news" if reading.get("wants_news") else next(iter(lacking)) if len(lacking) == 1 else "fit"
    if kind == "fit" and not models:
        kind = "card"
    in_russian = russian and (kind == "news" or bool(_RUSSIAN_MODEL.search(names)))
    return f"{names} {_TOPICS[kind][in_russian]}"


def _models(reading: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for model in reading.get("models", [])[:2]:
        size = model.get("size_b")
        words += [str(model.get("name") or ""), f"{size:g}B" if size else "", str(model.get("variant") or "")]
    return _given(words)


def _cards(reading: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for card in reading.get("gpus", [])[:1]:
        memory = card.get("memory_gb")
        words += [str(card.get("name") or ""), f"{memory:g}GB" if memory else ""]
    return _given(words)


def _given(words: Iterable[str]) -> list[str]:
    return [word for word in words if word]


def _topic(turn: str) -> str:
    """Return what a request without a known name is about: its telling words, a pasted log left out."""
    words = _WORD.findall(without_log(turn)[:2000])
    return " ".join([word for word in words if word.lower() not in _ASIDE][:_TOPIC_WORDS])
