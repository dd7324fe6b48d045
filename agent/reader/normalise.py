"""One spelling for one thing, before anything is read: invisible marks, dashes, digits, look-alike letters."""

from __future__ import annotations

import re
import unicodedata

from agent.reader.lazy import Lazy
from agent.reader.pasted import without_pasted

HEAD_CHARS = 10_000
TAIL_CHARS = 6_000
"""Of a longer text only its beginning and its end are read: a pasted log keeps its question in one of the two."""

RUSSIAN_WORDS = 3
_LONG_RUN = Lazy(r"(\d{20})\d+|(\S{160})\S+")
"""A number of more than 20 digits or a word of more than 160 characters says nothing past its beginning."""
_INVISIBLE = Lazy("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\x00-\x08\x0b-\x1f]")
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00d7\u2715\u2716\u2a2f", "x"),
        **dict.fromkeys("\u00ab\u00bb\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2018\u2019\u02bc\u00b4", "'"),
        "ё": "е",
        "Ё": "Е",
        "卡": " card ",
        "🦙": " llama ",
        "🍏": " apple ",
        "🍎": " apple ",
    }
)
_LETTERS = str.maketrans("авекмнорстухпбдгл", "abekmhopctyxpbdgl")
_LATIN = dict(zip("abekmhopctyx", "авекмнорстух", strict=True))
_CODE = str.maketrans("авекмнорстухпбдгл", "avekmhopstyxpbdgl")
_ORDINAL = Lazy(r"(?<=\d)-(?:ух|ех|х|мя|ми)(?![^\W_])", re.IGNORECASE)
"""Read "2-х 5070"."""
_GROUPED = Lazy(
    r"(?<![\w.,])(\d{1,3})((?:([ ,_'\u00a0\u202f])\d{3})(?:\3\d{3})*)(?![\w]|[.,]\d|\s?(?:gb|гб|гиг|g\b))",
    re.IGNORECASE,
)
_CYRILLIC_CODE = Lazy(r"(?<![^\W_])([авекмнорстхпбл]{1,2})(\d{1,4})([бкмсг]?)(?![^\W_])", re.IGNORECASE)
_XTX = Lazy(r"(?<=\d)(\s?)(хтх|хт)(?![^\W_])", re.IGNORECASE)
_TIMES_BEFORE = Lazy(r"(?<=\d)(\s?)[х*](?=\s?[^\W_])", re.IGNORECASE)
_TIMES_AFTER = Lazy(r"(?<=[\dA-Za-z)])(\s?)[х*](?=\s?\d)", re.IGNORECASE)
_TIMES_FIRST = Lazy(r"(?<![^\W_])[хx](?=\s?\d{1,2}(?![\d]))", re.IGNORECASE)
_GLUED_BEFORE = Lazy(
    r"(?<![\w.])(?!\d{4}x\d{1,2}(?!\d))(\d{1,4})x(?=[^\W_])(?!tx?(?![^\W_])|\d+(?:\.\d+)?[bб])", re.IGNORECASE
)
_GLUED_AFTER = Lazy(r"(?<=[a-z\d)])(?<!\db)(?<!\br)(?<!\bm)x(?=\d{1,3}(?![\d.]*[^\W_]))", re.IGNORECASE)
_DECIMAL = Lazy(r"(?<=\d),(?=\d{1,2}(?!\d|,))")
_UNIT = Lazy(r"(?<=\d)([ -]?)(б|к|м|т)(?![^\W_])", re.IGNORECASE)
_COMMAND = Lazy(r"\b(command) (r|a)\b", re.IGNORECASE)
_MEBIBYTES = Lazy(r"(?<![\w.])(\d{4,6})\s?(?:MiB|MB|мб)(?![^\W_])", re.IGNORECASE)
_INVERTED = Lazy(
    r"(?<!\d\s)(?<![\w.-])(тысяч[иу]?|тыщ[иу]?|гиг(?:ов|а)?|гигабайт|человек|юзеров|токенов)\s((?:по\s|около\s)?)"
    r"(\d{1,4})(?=\s(?:токен|контекст|на|озу|оператив|видеопам|врам|памят|в|и|одновр)|\s?[,.?!;)\n]|\s?$)",
    re.IGNORECASE,
)
"""Read "гигов 20", "тысячи 4": the number after its noun is an approximate one."""
_UNITS = {"б": "b", "к": "k", "м": "m", "т": "t"}
_LETTERS_ONLY = Lazy(r"[^\W\d_]{2,}")


def normalise(text: str) -> str:
    """Bring text to the one spelling that the rules are written for. Case is kept.

    Args:
        text: what the asker wrote, of any length.

    Returns:
        At most ``HEAD_CHARS + TAIL_CHARS`` characters, no invisible marks, plain dashes and quotes, ``x`` for
        every sign of multiplication, no separators in digits, Latin letters in codes such as ``А100`` or ``м2``.
    """
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = text[:HEAD_CHARS] + "\n" + text[-TAIL_CHARS:]
    text = unicodedata.normalize("NFKC", text.translate(_SAME))
    text = _INVISIBLE.sub("", text).translate(_SAME).replace("\\n", "\n")
    text = without_pasted(text)
    text = _LONG_RUN.sub(lambda found: found.group(1) or found.group(2), text)
    text = _COMMAND.sub(r"\1-\2", text)
    text = _GROUPED.sub(_join_groups, text)
    text = _MEBIBYTES.sub(lambda found: f"{int(found.group(1)) / 1024:.1f} GiB", text)
    text = _ORDINAL.sub("", text)
    text = _XTX.sub(lambda found: found.group(1) + "xtx"[: len(found.group(2))], text)
    text = _TIMES_BEFORE.sub(r"\1x", text)
    text = _TIMES_AFTER.sub(r"\1x", text)
    text = _TIMES_FIRST.sub("x", text)
    text = _GLUED_AFTER.sub(" x", _GLUED_BEFORE.sub(r"\1x ", text))
    text = _DECIMAL.sub(".", text)
    text = _CYRILLIC_CODE.sub(_latin_code, text)
    text = _UNIT.sub(lambda found: found.group(1) + _UNITS[found.group(2).lower()], text)
    text = _INVERTED.sub(r"\2\3 \1", text)
    text = _LETTERS_ONLY.sub(_one_script, text)
    return re.sub(r"[^\S\n]+", " ", text)


def lower(text: str) -> str:
    """Lower case of the same length, so that positions agree with the original."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def language_of(text: str) -> str:
    """``ru`` where words are mostly Cyrillic (model and card names are Latin in Russian too), else ``en``.

    Three Cyrillic words are Russian beside any amount of Latin: an error is quoted in English.
    """
    cyrillic = len(re.findall(r"[а-яА-Я]", text))
    words = len(re.findall(r"[а-яА-Я]{2,}", text))
    latin = len(re.findall(r"\b[a-z]{2,}\b", text))
    if words >= RUSSIAN_WORDS:
        return "ru"
    return "ru" if cyrillic and (words * 2 >= latin or cyrillic * 2 >= len(re.findall(r"[A-Za-z]", text))) else "en"


def _join_groups(found: re.Match[str]) -> str:
    return found.group(1) + re.sub(r"\D", "", found.group(2))


def _latin_code(found: re.Match[str]) -> str:
    letters, digits, tail = (part.lower() for part in found.groups())
    if letters == "р" and digits == "1":
        return "r1" + tail
    if tail in {"к", "г"} or (
        letters in {"в", "с", "к", "о"} and len(digits) < 3 and not (letters == "к" and tail == "")
    ):
        return found.group(0)
    return letters.translate(_CODE) + digits + tail.translate(_CODE)


def _one_script(found: re.Match[str]) -> str:
    word = found.group(0)
    if word.isascii() or not any(c.isascii() for c in word):
        return word
    cyrillic = sum("а" <= c.lower() <= "я" for c in word)
    if cyrillic * 2 > len(word) and all(c.lower() in _LATIN for c in word if c.isascii()):
        return "".join(_LATIN.get(c.lower(), c) for c in word)
    if cyrillic * 2 > len(word) or any(c.lower() not in "авекмнорстух" for c in word if "а" <= c.lower() <= "я"):
        return word
    return "".join(
        c if c.isascii() else c.lower().translate(_LETTERS).upper() if c.isupper() else c.translate(_LETTERS)
        for c in word
    )
