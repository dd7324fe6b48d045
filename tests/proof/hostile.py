"""Plans full of hostile words: what a name, a revision, a card or a note may hold at worst."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import (  # pyright: ignore[reportMissingImports]
    CARD,
    make_checkpoint,
    make_gguf,
    make_instance,
    make_llama,
    make_plan,
)

from tools.domain import EngineOptions, InstancePlan, Plan, Rig, note
from tools.launch.choices import ALLOWED, Choices
from tools.launch.generate import TARGETS

# fmt: off
PAYLOADS = (
    "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "x\ntouch PWNED\n",
    "x\r\ntouch PWNED", "${IFS}touch", "$HOME", "$$", "%h %i", "{{ 7*7 }}", "{% raw %}", "${PORT}", "${env.HOME}",
    "!!python/object/apply:x", "&a *a", "<<: *x", "- [", "key: value # c", "#", "--help", "-x", "@/etc/passwd",
    "a\\", "\\n", "'", '"', "a b", "a:b", '"""\nRUN touch PWNED\n', "FROM evil", "<script>x</script>", "-->",
    "](http://evil)", "|", "~", "null", "true", "0x10", "квен-30б", "модель «большая»", "\u2028touch PWNED",
    "\u202eevil", "\ufeffx", "a\x00b", "é" * 80, "a" * 300, "..", "/",
)
# fmt: on
"""What shells, YAML, templates, Dockerfiles, systemd and Markdown would act on if it were pasted."""

words = st.one_of(
    st.sampled_from(PAYLOADS),
    st.tuples(st.text(max_size=8), st.sampled_from(PAYLOADS), st.text(max_size=8)).map("".join),
    st.text(min_size=1, max_size=40),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", fullmatch=True),
)
plain = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}[A-Za-z0-9]", fullmatch=True)
some = st.one_of(plain, plain, plain, words)
"""Mostly what is allowed, so that the rest of a plan reaches the files."""
sizes = st.integers(1, 1 << 31)


@st.composite
def instances(draw: st.DrawFn, engine: str, name: str, order: int) -> InstancePlan:
    """An engine whose names are hostile, with any numbers."""
    served = tuple(draw(st.lists(some, min_size=1, max_size=2)))
    repo = draw(st.one_of(plain.map(lambda word: f"Org/{word}"), some.map(lambda word: f"Org/{word}"), words))
    revision = draw(st.one_of(st.none(), st.none(), some))
    cards = draw(st.sampled_from(((0,), (0, 1))))
    more: dict[str, Any] = {
        "gpus": cards,
        "order": order,
        "awake": draw(st.booleans()),
        "max_model_len": draw(sizes),
        "max_num_seqs": draw(st.integers(1, 4096)),
        "kv_dtype": draw(st.sampled_from(("auto", "fp8"))) if engine in {"vllm", "sglang"} else "auto",
    }
    if engine in {"vllm", "sglang"}:
        checkpoint = make_checkpoint(repo, revision=revision)
        split = {"tp": len(cards), "options": EngineOptions(static_share=0.5, total_tokens=draw(sizes))}
        return make_instance(name, served, checkpoint=checkpoint, engine=engine, **more, **split)
    checkpoint = make_gguf(repo, revision=revision, hypothetical=draw(st.booleans()))
    return make_llama(name, served, checkpoint=checkpoint, engine=engine, **more)


@st.composite
def plans(draw: st.DrawFn, target: str) -> tuple[Plan, Choices, str]:
    """A plan for a target's engine, the choices about its files, and the language of the words in them."""
    engine = TARGETS[target].engine
    count = draw(st.integers(1, 2))
    names = draw(st.lists(words, min_size=count, max_size=count))
    found = [draw(instances(engine, name, order)) for order, name in enumerate(names)]
    if target == "ray":  # Ray Serve keeps all of its models awake and refuses others
        found = [replace(instance, awake=True) for instance in found]
    card = replace(CARD, name=draw(st.one_of(words, st.just(CARD.name))))
    needs = tuple(note("errors_launch.bad_word", value=draw(words)) for _ in range(draw(st.integers(0, 2))))
    plan = make_plan(
        *found, rig=Rig((card, card)), kind=draw(st.sampled_from((None, "precision"))), needs=needs, engine=engine
    )
    assumed = note("errors_launch.bad_word", value=draw(words))
    plan = replace(plan, assumptions=(assumed,))
    chosen: dict[str, Any] = {
        name: draw(st.sampled_from(ALLOWED.get(name, (False, True)))) for name in TARGETS[target].choices
    }
    return plan, Choices(**chosen), draw(st.sampled_from(("en", "ru")))
