"""Answers as models write them, right ones and the same with a planted fault, over real tool results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from grounding_scenes import refused, scene

ANSWERS = [
    "Yes, both fit. {A} takes {w1} GiB of weights and {B} takes {w2} GiB; {free0} GiB stay free on the card.",
    "**{A}**: {w1} GiB weights, {k1} GiB KV cache, {t1} GiB in total.\n**{B}**: {w2} GiB weights, {k2} GiB KV cache, "
    "{t2} GiB in total.",
    "| Model | Weights | KV cache | Total |\n|---|---|---|---|\n| {A} | {w1} GiB | {k1} GiB | {t1} GiB |\n"
    "| {B} | {w2} GiB | {k2} GiB | {t2} GiB |",
    "| Model | Weights, GiB | Total, GiB |\n|---|---|---|\n| {A} | {w1} | {t1} |\n| {B} | {w2} | {t2} |",
    "They fit. In FP8 {a} needs {w1} GiB for its weights, {b} only {w2} GiB.",
    "{A} and {B} take {w1} and {w2} GiB of weights respectively.",
    "The cache of {A} holds {p1} tokens. The cache of {B} holds {p2} tokens.",
    "The weights come to {wS} GiB together: {w1} GiB for {A} and {w2} GiB for {B}.",
    "- {A}: {t1} GiB\n- {B}: {t2} GiB\n\nThat leaves {free0} GiB free on card 0.",
    "### {A}\n- weights: {w1} GiB\n- KV cache: {k1} GiB\n\n### {B}\n- weights: {w2} GiB\n- KV cache: {k2} GiB",
    "The first model weighs {w1} GiB, the second model weighs {w2} GiB.",
    "{A} uses {t1} GiB in total ({w1} GiB weights + {k1} GiB cache + {o1} GiB overhead).",
    "With a context of {ctx} tokens, {A} gets {k1} GiB of KV cache. It holds about {pk1}k tokens.",
    "A single request runs at about {lo}–{hi} tokens/s. Context: {ctxk}.",
    "In BF16 {A} would need {f1} GiB for weights instead of {w1} GiB in FP8.",
    "{A} has {n1}B parameters and {B} has {n2} billion parameters.",
    "GPU 0 has {used0} GiB of {total0} GiB used, {free0} GiB left.",
    "Roughly {wr1} GiB of weights go to {A}, {wr2} GiB to {B}.",
    "{A} ({w1} GiB) and {B} ({w2} GiB) share the memory: {t1} GiB and {t2} GiB in total.",
    "Each token costs {b1} KiB of KV cache per token on {A} and {b2} KiB per token on {B}.",
    "{A} occupies {tgb1} GB in total, that is {t1} GiB.",
    "Да, поместятся обе. {A} занимает {w1} GiB под веса, {B} — {w2} GiB. Свободно останется {free0} GiB.",
    "Веса {A}: {w1} GiB, веса {B}: {w2} GiB, вместе {wS} GiB.",
    "Для {A} нужно {w1} ГиБ под веса, для {B} — {w2} ГиБ.",
    "| Модель | Веса | KV-кэш | Всего |\n|---|---|---|---|\n| {A} | {w1} GiB | {k1} GiB | {t1} GiB |\n"
    "| {B} | {w2} GiB | {k2} GiB | {t2} GiB |",
    "Первая модель весит {w1} GiB, вторая модель — {w2} GiB.",
    "Кэш {A} вмещает {pr1} токенов. Кэш {B} вмещает {pr2} токенов.",
    "{A}: веса {w1} GiB, кэш {k1} GiB, всего {t1} GiB.\n{B}: веса {w2} GiB, кэш {k2} GiB, всего {t2} GiB.",
    "При контексте {ctxr} токенов у {A} остаётся {k1} GiB под кэш. Это около {pk1} тыс. токенов.",
    "Скорость одного запроса примерно {lo}–{hi} токенов/с.",
    "На карте 0 занято {used0} GiB из {total0} GiB, свободно {free0} GiB.",
    "В BF16 веса {A} заняли бы {f1} GiB, в FP8 — {w1} GiB.",
    "У {A} {n1} млрд параметров, у {B} — {n2} млрд.",
    "- {A} — {t1} GiB\n- {B} — {t2} GiB",
    "{A} и {B} занимают {t1} и {t2} GiB соответственно.",
    "Веса модели {A} — {w1} GiB. Её KV-кэш занимает {k1} GiB, а всего она берёт {t1} GiB.",
]
PAIRED = ("w", "k", "t", "p", "n", "b", "pr", "wr")
SWAPS = [(f"{key}1", f"{key}2") for key in PAIRED]


def right() -> Iterator[tuple[str, str]]:
    for name in ("one", "two"):
        for answer in ANSWERS:
            known = scene(name)
            yield name, answer.format(**known.now, **known.names)


def faulty() -> Iterator[tuple[str, str]]:
    """Plant one fault in each: a wrong number, two swapped, GB for GiB, a figure of the turn before."""
    for name in ("one", "two"):
        known = scene(name)
        for answer in ANSWERS:
            for changed in planted(answer, known.now, known.before):
                yield name, answer.format(**changed, **known.names)
            if "1} GiB" in answer:
                unit = answer.replace("1} GiB", "1} GB", 1).replace("1} ГиБ", "1} ГБ", 1)
                yield name, unit.format(**known.now, **known.names)


def planted(answer: str, now: dict[str, str], before: dict[str, str]) -> Iterator[dict[str, str]]:
    used = [key for key in now if f"{{{key}}}" in answer]
    for key in used[:2]:
        digits = now[key].replace(",", "").replace("\u00a0", "")
        if digits.replace(".", "").isdigit():
            decimals = len(digits.partition(".")[2])
            yield {**now, key: f"{float(digits) * 1.61 + 3:.{decimals}f}"}
    for one, other in SWAPS:
        if one in used and other in used and now[one] != now[other]:
            yield {**now, one: now[other], other: now[one]}
    for key in used:
        if key[:1] in "kp" and before[key] != now[key] and before[key] not in now.values():
            yield {**now, key: before[key]}


def _parity(rows: list[tuple[str, str]], half: str) -> list[tuple[str, str]]:
    return rows[half == "held" :: 2]


@pytest.mark.parametrize("half", ["develop", "held"])
def test_right_answers_are_let_through(half: str) -> None:
    rows = _parity(list(right()), half)
    stopped = [text for name, text in rows if refused(text, scene(name).state)]
    assert len(stopped) <= 0.02 * len(rows), "\n---\n".join([f"{len(stopped)} of {len(rows)}", *stopped])


@pytest.mark.parametrize("half", ["develop", "held"])
def test_planted_faults_are_caught(half: str) -> None:
    rows = _parity(list(faulty()), half)
    missed = [text for name, text in rows if not refused(text, scene(name).state)]
    assert len(missed) <= 0.02 * len(rows), "\n---\n".join([f"{len(missed)} of {len(rows)}", *missed])
