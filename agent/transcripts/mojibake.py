"""Mends text whose UTF-8 was read in another encoding: "–¥–∞", "РґР°" and "Ð´Ð°" are "да".

A piece is mended only where all of it, put back into the bytes of one encoding, is valid UTF-8, where what comes out is
no odder than what went in, and where it holds something that does not come about by chance: two Russian letters side by
side, an accented letter in a word, a typographic sign or an emoji. Text as people write it has oddness 0 and adjacent
letters that are no UTF-8 in any of these encodings, so it comes through as it was.

ftfy 6.3 does the same for English and French; it leaves Russian read as Mac Roman, as CP866 and as Mac Cyrillic as it
is, and French read as Windows-1251.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

_LAYERS = 3
"""How often text may have been damaged on top of itself."""
NAMES = {
    "mac_roman": "Mac Roman", "cp1251": "Windows-1251", "cp1252": "Windows-1252", "latin-1": "Latin-1",
    "cp866": "CP866", "mac_cyrillic": "Mac Cyrillic", "koi8_r": "KOI8-R", "cp437": "CP437",
}  # fmt: skip
"""Encodings that UTF-8 is mistaken for, by Python's name; tried in this order."""
_LEGACY = ("cp1251", "koi8_r", "cp866", "mac_cyrillic", "cp1252", "mac_roman")
"""Encodings that a file which is no UTF-8 may be in."""

_ACCENTED = "ÀÂÄÇÈÉÊËÎÏÔÖÙÛÜŒÆÁÍÓÚÑÃÕÅØàâäçèéêëîïôöùûüÿœæáíóúñãõåøßŸ"
_SIGNS = "«»—–…“”„‘’‚№°·•×−±µ€§©®™¿¡→←≤≥≈✓✗\xa0"
_ODD = re.compile(
    rf"[^\x00-\x7fА-яЁё{_ACCENTED}{re.escape(_SIGNS)}\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3"
    "\u2600-\u27bf\ufe0f\u200d\U0001f000-\U0001faff]"
)
_EMOJI = re.compile("[\u2600-\u27bf\ufe0f\u200d\U0001f000-\U0001faff]")
_BROKEN = re.compile("[\x80-\x9f\ufffd\ue000-\uf8ff\u2500-\u259f]")
_MIXED = re.compile(rf"[А-яЁё][A-Za-z{_ACCENTED}]|[A-Za-z{_ACCENTED}][А-яЁё]|[а-яё][А-ЯЁ]")
_LEAD = re.compile(r"[ÂÃâΓ‚√][^\x00-\x7f]|[РС][^\x00-\x7fА-яЁё][РС]")
"""First characters of two-byte letters and of signs, as they come out; in words an ASCII letter follows the former."""
_PAIR = re.compile(r"[А-яЁё]{2}")
_LATIN = re.compile(rf"[A-Za-z{_ACCENTED}][{_ACCENTED}]|[{_ACCENTED}][A-Za-z{_ACCENTED}]")
_SIGN = re.compile(r"[—–…“”„‘’•№€™→≤≥≈✓]")
_OTHER = re.compile("[\u0370-\u03ff\u0590-\u06ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]{2}")
_LOST_SPACE = re.compile(rb"([\xc2\xc3\xd0])\x20(?![\x80-\xbf])")
"""A no-break space that something turned into a space: no UTF-8 character begins so and ends there."""


@dataclass(frozen=True, slots=True)
class Mended:
    """Text as it was meant.

    Attributes:
        text: the text.
        read_as: names of the encodings that it had been mistaken for, in the order they were undone; empty where
            nothing was mended.
    """

    text: str
    read_as: tuple[str, ...] = ()


def mend(text: str) -> Mended:
    """Undo the damage of a text, up to three layers of it; right text comes back as it is.

    All the text is tried at once, else line by line, else word by word by what the lines showed.
    """
    if text.isascii():
        return Mended(text)
    whole = _best(text, tuple(NAMES))
    if whole:
        return whole
    used: dict[str, None] = {}
    lines = [_line(line, used) for line in text.split("\n")]
    if used:
        lines = [_words(line, tuple(used)) for line in lines]
    return Mended("\n".join(lines), tuple(NAMES[codec] for codec in used))


def decode(data: bytes) -> Mended:
    """Decode a file: UTF-8, UTF-16 by its mark, else the one-byte encoding in which it reads best; then mend it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return mend(data.decode("utf-16", "replace"))
    try:
        return mend(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        pass
    lossy = data.decode("utf-8-sig", "replace")
    if lossy.count("\ufffd") * 50 < sum(byte > 127 for byte in data):
        return mend(lossy)  # UTF-8 with a few bytes broken
    readings = [(_legacy_cost(text := data.decode(codec, "replace")), text, codec) for codec in _LEGACY]
    _, text, codec = min(readings, key=lambda reading: reading[0])
    return Mended(text, (NAMES[codec],))


def _legacy_cost(text: str) -> float:
    """How unlikely a reading of one-byte text is: besides oddness, words that begin small and go on in capitals."""
    return oddness(text) - 0.1 * len(re.findall(r"[оеаинтслв]", text))


def oddness(text: str) -> float:
    """Weigh what people don't write: broken characters, signs of no language at hand, two alphabets in one word."""
    return sum(weight * len(kind.findall(text)) for kind, weight in ((_ODD, 1), (_BROKEN, 2), (_MIXED, 1), (_LEAD, 1)))


def _line(line: str, used: dict[str, None]) -> str:
    found = None if line.isascii() else _best(line, tuple(NAMES))
    if not found:
        return line
    used.update(dict.fromkeys(codec for codec, name in NAMES.items() if name in found.read_as))
    return found.text


def _words(line: str, used: tuple[str, ...]) -> str:
    """Mend the words of a line that is damaged in part, by encodings that other lines were damaged by."""
    if line.isascii() or oddness(line) == 0:
        return line
    words = re.split(r"([ \t]+)", line)
    found = (None if word.isascii() else _best(word, used) for word in words)
    return "".join(better.text if better else word for word, better in zip(words, found, strict=True))


def _best(piece: str, tried: Sequence[str]) -> Mended | None:
    """Return the best reading of a piece; None where it stands as it is."""
    before = oddness(piece)
    found: list[tuple[float, Mended]] = []
    for reading in _readings(piece, tried, _LAYERS):
        after = oddness(reading.text)
        if after <= before and _evident(piece, reading.text, lighter=after < before):
            found.append((after, reading))
    return min(found, key=lambda weighed: weighed[0])[1] if found else None


def _readings(piece: str, tried: Sequence[str], layers: int) -> Iterator[Mended]:
    """Yield what a piece may have been, one layer of damage undone and more; few encodings give valid UTF-8."""
    for codec in tried:
        meant = _undone(piece, codec)
        if meant is None or meant == piece:
            continue
        yield Mended(meant, (NAMES[codec],))
        if layers > 1 and not meant.isascii():
            for deeper in _readings(meant, tried, layers - 1):
                yield Mended(deeper.text, (NAMES[codec], *deeper.read_as))


def _evident(piece: str, meant: str, *, lighter: bool) -> bool:
    """Tell whether a reading holds what chance does not make."""
    if any(len(kind.findall(meant)) > len(kind.findall(piece)) for kind in (_PAIR, _EMOJI)):
        return True
    return lighter and any(kind.search(meant) for kind in (_LATIN, _SIGN, _OTHER, _PAIR))


def _undone(piece: str, codec: str) -> str | None:
    """Put a piece back into an encoding's bytes and read them as UTF-8; None where either can't be."""
    if codec == "cp1251":
        piece = piece.replace("\ufffd", "\x98")  # its only byte without a character
    try:
        data = codecs.charmap_encode(piece, "strict", _table(codec))[0]
    except UnicodeEncodeError:
        return None
    for attempt in _attempts(data):
        try:
            return attempt.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def _attempts(data: bytes) -> Iterator[bytes]:
    yield data
    mended = _LOST_SPACE.sub(rb"\1" + b"\xa0", data)
    if mended != data:
        yield mended


@cache
def _table(codec: str) -> Any:
    """The encoding's table, a byte without a character standing for its control character, as browsers read it.

    Source: https://encoding.spec.whatwg.org/#legacy-single-byte-encodings
    """
    build: Callable[[str], Any] = codecs.charmap_build  # type: ignore[attr-defined]
    characters = (bytes([byte]).decode(codec, "replace") for byte in range(256))
    return build("".join(chr(byte) if char == "\ufffd" else char for byte, char in enumerate(characters)))
