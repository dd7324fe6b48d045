"""Words that ask for nothing: a bare "thanks" ends a question and does not repeat it."""

from __future__ import annotations

import re

_THANKS = frozenset({"thanks", "thank", "thx", "ty", "cheers", "спасибо", "спс", "благодарю", "пасиб", "сенкс"})
_AROUND = frozenset(
    {"you", "very", "much", "a", "lot", "so", "many", "great", "ok", "okay", "got", "it", "cool", "perfect", "nice"}
    | {"большое", "огромное", "вам", "тебе", "ок", "окей", "понял", "поняла", "понятно", "ясно", "отлично", "супер"}
    | {"bye", "круто", "за", "ответ", "помощь", "всё", "все", "пока", "the", "for", "help", "answer"}
)  # fmt: skip


def is_thanks(text: str) -> bool:
    """Tell whether a whole message only thanks: "Отлично, спасибо!" does, "спасибо, а на 3090?" asks."""
    words = re.findall(r"\w+", text.lower())
    return any(w in _THANKS for w in words) and all(w in _THANKS or w in _AROUND for w in words)
