"""Changes a person could make to what they asked, each as a move from one state of the search to others."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tools.domain import Attention, Checkpoint, Gpu, ModelSpec, Note, OptionKind, note
from tools.errors import BadValue, NotYetExact
from tools.plan.checkpoints import of_word, special
from tools.plan.demand import Choice
from tools.plan.engines import cache_type, engine
from tools.plan.kernels import FORMATS, runs_on
from tools.plan.sizes import weight_bytes

SMALLER_STEPS = (2048, 1024)
"""Tokens a step that are tried; vLLM's defaults are 2,048 on most cards, 8,192 and 16,384 on large ones."""

MAX_MACHINES = 8
"""Machines that one model is spread over at most."""

LEAST_CONTEXT = 2048
"""Shorter contexts are not offered: a chat's prompt alone fills them."""

MAX_MIXTURES = 81
"""Ways to give each instance its own precision that are all tried (3 levels of 4 instances); beyond, largest first."""


@dataclass(frozen=True, slots=True)
class State:
    """One variant of what was asked.

    Attributes:
        choices: the engines that run.
        gpus: the cards, more than the rig's where hardware is added.
        swap: one instance is awake at a time.
        path: the moves made from what was asked, in order.
        loss: how much the person gives up; smaller is better.
        titles: one sentence a move.
        briefs: the same in as few signs as do, alike in every language.
        needs: what the moves call for.
        tag: tells variants of one move apart in the option's id.
    """

    choices: tuple[Choice, ...]
    gpus: tuple[Gpu, ...]
    swap: bool = False
    path: tuple[OptionKind, ...] = ()
    loss: float = 0.0
    titles: tuple[Note, ...] = ()
    briefs: tuple[str, ...] = ()
    needs: tuple[Note, ...] = ()
    tag: str = ""

    def then(
        self,
        kind: OptionKind,
        loss: float,
        title: Note,
        *,
        tag: str = "",
        brief: str = "",
        needs: tuple[Note, ...] = (),
    ) -> State:
        """Return this state with one more move recorded; the caller replaces what changed."""
        joined = "-".join(part for part in (self.tag, tag or kind.replace("_", "-")) if part)
        return replace(
            self,
            path=(*self.path, kind),
            loss=self.loss + loss,
            titles=(*self.titles, title),
            briefs=(*self.briefs, brief),
            needs=(*self.needs, *needs),
            tag=joined,
        )

    @property
    def engine(self) -> str:
        """The command line's word for the engine; every instance of a plan has the same."""
        return self.choices[0].engine if self.choices else "vllm"

    def title(self) -> Note:
        """One sentence for all the moves."""
        if len(self.path) == 1:
            return self.titles[0]
        if self.path[0] == "share":
            return Note("plan.title_share_more", {**self.titles[0].params, "what": ", ".join(self.briefs[1:])})
        told = zip(self.path, self.briefs, strict=True)
        briefs = sorted(told, key=lambda pair: pair[0] != "more_hardware")
        return note("plan.title_several", what=", ".join(brief for _, brief in briefs))


def short_name(model: ModelSpec) -> str:
    """The model's name without its publisher."""
    return model.name.rsplit("/", 1)[-1]


def plain_name(model: ModelSpec) -> str:
    """The same, safe in file names and URLs: ``qwen3-30b-a3b``."""
    return re.sub(r"[^a-z0-9.]+", "-", short_name(model).lower()).strip("-.")[:48].strip("-.") or "model"


def share(state: State, *, same_model: bool | None) -> Iterator[State]:
    """Serve instances of one model from one engine under all their names: weights once, one larger cache."""
    if same_model is False or "share" in state.path:
        return
    merged: dict[tuple[str, str], list[Choice]] = {}
    for choice in state.choices:
        merged.setdefault((choice.model.name, choice.checkpoint.precision), []).append(choice)
    if len(merged) == len(state.choices):
        return
    copies = max(merged.values(), key=len)
    moved = state.then("share", 0.0, note("plan.title_share", model=short_name(copies[0].model), copies=len(copies)))
    swap = state.swap and len(merged) > 1
    choices = tuple(replace(_merge(group), sleeps=swap) for group in merged.values())
    yield replace(moved, choices=choices, swap=swap)


def _merge(group: Sequence[Choice]) -> Choice:
    served = tuple(name for choice in group for name in choice.served)
    users, context = sum(choice.users for choice in group), max(choice.context for choice in group)
    return replace(group[0], served=served, users=users, context=context)


# --- precision -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """One step down in precision: the checkpoint that is best there, and what it costs."""

    checkpoint: Checkpoint
    bits: int
    loss: float


def bits_of(checkpoint: Checkpoint) -> int:
    """Class of a checkpoint's precision: 16, 8 or 4; types of GGUF and EXL by their own bits."""
    bits = checkpoint.quantization.bits
    if bits <= 9 and checkpoint.quantization.method in {"gguf", "exl2", "exl3"}:
        return math.floor(bits)
    return 16 if bits > 9 else 8 if bits > 5 else 4


def levels(choice: Choice, gpus: Sequence[Gpu]) -> tuple[Level, ...]:
    """List the checkpoint an instance has now and the best one that runs on some card for each lower precision."""
    found = [Level(choice.checkpoint, bits_of(choice.checkpoint), 0.0)]
    for step in engine(choice.engine).ladder:
        if step.bits >= found[0].bits:
            continue
        candidates = _candidates(choice, step.words)
        checkpoint = next((c for c in candidates if _usable(choice, c, gpus)), None)
        if checkpoint:
            found.append(Level(checkpoint, step.bits, step.loss + _extra_loss(checkpoint)))
    return tuple(found)


def _candidates(choice: Choice, words: Sequence[str]) -> Iterator[Checkpoint]:
    for word in words:
        try:
            yield from of_word(choice.model, word, made=engine(choice.engine).loads == "exl3")
        except BadValue:
            continue


def _extra_loss(checkpoint: Checkpoint) -> float:
    """Of checkpoints of the same size: a relative is another model, and no calibration or a plugin costs a little."""
    form = FORMATS.get(checkpoint.quantization.method)
    plugin = form is not None and form.plugin is not None and checkpoint.quantization.method != "gguf"
    return 1.0 * (checkpoint.sibling_of is not None) + 0.5 * checkpoint.in_flight + 0.3 * plugin


def _usable(choice: Choice, checkpoint: Checkpoint, gpus: Sequence[Gpu]) -> bool:
    """Whether some card runs a checkpoint and its size can be computed."""
    if not any(runs_on(checkpoint, gpu, choice.engine).runs for gpu in gpus):
        return False
    try:
        return weight_bytes(replace(choice, checkpoint=checkpoint)) > 0
    except (NotYetExact, BadValue):
        return False


def precision(state: State) -> Iterator[State]:
    """Give instances smaller checkpoints, each its own; the variants that keep most come first."""
    if "precision" in state.path:
        return
    ladders = [levels(choice, state.gpus) for choice in state.choices]
    for picks in _mixtures(state.choices, ladders):
        if all(pick == 0 for pick in picks):
            continue
        chosen = [ladder[pick] for ladder, pick in zip(ladders, picks, strict=True)]
        changed = tuple(
            replace(choice, checkpoint=level.checkpoint) for choice, level in zip(state.choices, chosen, strict=True)
        )
        loss = sum(level.loss for level in chosen) / len(chosen)
        names = mixture_name([choice.checkpoint for choice in changed])
        title = note("plan.title_precision", what=names)
        moved = state.then(
            "precision", loss, title, tag=_slug(names), brief=names, needs=_checkpoint_notes(changed, state.choices)
        )
        yield replace(moved, choices=changed)


def _mixtures(choices: Sequence[Choice], ladders: Sequence[Sequence[Level]]) -> list[tuple[int, ...]]:
    """Index of the level for each instance; for equal instances only one order, the higher precision first."""
    count = 1
    for ladder in ladders:
        count *= len(ladder)
    if count > MAX_MIXTURES:
        return _lowering(ladders)
    found: list[tuple[int, ...]] = []
    for picks in itertools.product(*(range(len(ladder)) for ladder in ladders)):
        pairs = itertools.combinations(range(len(picks)), 2)
        if all(picks[a] <= picks[b] for a, b in pairs if choices[a].key == choices[b].key):
            found.append(picks)
    return found


def _lowering(ladders: Sequence[Sequence[Level]]) -> list[tuple[int, ...]]:
    """For many instances: all at 8 bits, and in eighths more and more of the last ones at the lowest level."""
    lowest = [len(ladder) - 1 for ladder in ladders]
    middle, count = [min(1, low) for low in lowest], len(ladders)
    found = [tuple(middle)]
    for eighths in range(1, 9):
        kept = count - -(-count * eighths // 8)
        found.append(tuple(middle[:kept] + lowest[kept:]))
        found.append(tuple([0] * kept + lowest[kept:]))
    return list(dict.fromkeys(found))


_PLAIN = {"bf16": "BF16", "fp16": "FP16", "fp32": "FP32", "fp8": "FP8", "fp8-online": "FP8 (in flight)", "int8": "INT8"}


def precision_name(checkpoint: Checkpoint) -> str:
    """A precision as people write it."""
    return plain_precision(checkpoint.precision)


def plain_precision(word: str) -> str:
    """The command line's word for a precision as people write it: ``plain_precision("gptq-int4") == "GPTQ-Int4"``."""
    return _PLAIN.get(word, word.upper().replace("GPTQ-INT", "GPTQ-Int"))


def mixture_name(checkpoints: Sequence[Checkpoint]) -> str:
    """``BF16 + GPTQ-Int4``; equal neighbours are counted: ``3x FP8``."""
    parts: list[str] = []
    for name, group in itertools.groupby(precision_name(checkpoint) for checkpoint in checkpoints):
        count = len(list(group))
        parts += [f"{count}x {name}"] if count > 2 else [name] * count
    return " + ".join(parts)


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def _checkpoint_notes(changed: Sequence[Choice], before: Sequence[Choice]) -> tuple[Note, ...]:
    """Say plainly where a smaller checkpoint is made in flight or is a relative's."""
    notes: dict[str, Note] = {}
    for new, old in zip(changed, before, strict=True):
        checkpoint, name = new.checkpoint, short_name(new.model)
        if checkpoint is old.checkpoint:
            continue
        if checkpoint.hypothetical or checkpoint.quantization.method == "gguf":
            said = special(checkpoint, new.model)
            notes |= {"h" + name + checkpoint.precision: said} if said else {}
        elif checkpoint.sibling_of:
            notes["s" + name] = note("plan.sibling", model=name, repo=checkpoint.repo)
        elif checkpoint.in_flight:
            notes["f" + name + checkpoint.precision] = note(
                "plan.in_flight",
                model=name,
                repo=checkpoint.repo,
                precision=precision_name(checkpoint),
                engine=engine(new.engine).name,
            )
    return tuple(notes.values())


# --- cache, context, users -------------------------------------------------------------------------------------------


def kv_dtype(state: State) -> Iterator[State]:
    """Keep the cache in the engine's smaller type: about half the bytes a token."""
    small = engine(state.engine).small_cache
    if "kv_dtype" in state.path or not small or all(choice.kv_dtype != "auto" for choice in state.choices):
        return
    kinds = [cache_type(choice.engine, choice.checkpoint.quantization.method, small) for choice in state.choices]
    if all(kind == "auto" for kind in kinds):
        return
    choices = tuple(replace(choice, kv_dtype=small) for choice in state.choices)
    title = note("plan.title_kv_dtype", type=small.upper())
    yield replace(state.then("kv_dtype", 0.6, title, brief=f"KV {small.upper()}"), choices=choices)


def context(state: State) -> Iterator[State]:
    """Halve the context, several times over."""
    if "context" in state.path:
        return
    for halvings in range(1, 11):
        shorter = tuple(_shorter(choice, halvings) for choice in state.choices)
        if shorter == tuple(_shorter(choice, halvings - 1) for choice in state.choices):
            return
        tokens = max(choice.context for choice in shorter)
        title, brief = note("plan.title_context", tokens=tokens), f"{engine(state.engine).words[0]} {tokens}"
        moved = state.then("context", 1.5 * halvings, title, tag=f"context-{tokens}", brief=brief)
        yield replace(moved, choices=shorter)


def _shorter(choice: Choice, halvings: int) -> Choice:
    floor = min(choice.context, LEAST_CONTEXT)
    return replace(choice, context=max(floor, choice.context >> halvings))


def concurrency(state: State) -> Iterator[State]:
    """Halve the sequences at once, several times over; others wait in the engine's queue."""
    if "concurrency" in state.path:
        return
    for halvings in range(1, 15):
        fewer = tuple(replace(choice, users=max(1, choice.users >> halvings)) for choice in state.choices)
        if all(choice.users >> (halvings - 1) <= 1 for choice in state.choices):
            return
        users = max(choice.users for choice in fewer)
        title, brief = note("plan.title_concurrency", users=users), f"{engine(state.engine).words[1]} {users}"
        moved = state.then("concurrency", 1.2 * halvings, title, tag=f"users-{users}", brief=brief)
        yield replace(moved, choices=fewer)


def smaller_steps(state: State) -> Iterator[State]:
    """Let models with sliding windows take fewer tokens a step, for a window keeps all tokens that are in flight.

    Gemma-3-27B at 8,192 tokens and 4 sequences needs 17.5 GiB of cache with the default step of 8,192 on a large card,
    11.9 with 2,048 and 8.2 with 1,024. What was asked for stays as it is; prompts are read a little slower.
    """
    if engine(state.engine).family != "budget":
        return
    for step in SMALLER_STEPS:
        choices = tuple(_with_step(choice, step) for choice in state.choices)
        if choices != state.choices:
            yield replace(state, choices=choices)


def _with_step(choice: Choice, step: int) -> Choice:
    """The choice with that step where it has windows, and images and sequences fit into one."""
    mixers = (mixer for layer in choice.model.layers for mixer in layer.mixers)
    if not any(isinstance(mixer, Attention) and mixer.window and mixer.window < choice.context for mixer in mixers):
        return choice
    encoder = choice.model.encoder
    return replace(choice, step=max(step, choice.users, encoder.item_tokens if encoder else 0))


def machines(state: State) -> Iterator[State]:
    """Spread the largest model over several machines: every layer over the cards of one, a pipeline stage on each."""
    nodes = len({gpu.node for gpu in state.gpus})
    if "parallel" in state.path or nodes < 2 or not engine(state.engine).spans_machines:
        return
    index = max(range(len(state.choices)), key=lambda i: weight_bytes(state.choices[i]))
    choice = state.choices[index]
    for count in range(2, min(nodes, MAX_MACHINES) + 1):
        title = note("plan.title_machines", model=short_name(choice.model), machines=count)
        needs = (note("plan.needs_network", machines=count, engine=engine(state.engine).name),)
        moved = state.then(
            "parallel", 0.8 + 0.2 * count, title, tag=f"{count}-machines", brief=f"{count} machines", needs=needs
        )
        wider = replace(choice, machines=count)
        yield replace(moved, choices=(*state.choices[:index], wider, *state.choices[index + 1 :]))


def parallel(state: State) -> Iterator[State]:
    """Spread a model over more equal cards of its machine: faster, and a larger cache."""
    if len(state.choices) != 1 or not engine(state.engine).cuts_layers:
        return
    for cards in (8, 4, 2):
        choice = replace(state.choices[0], least_ranks=cards)
        moved = state.then("parallel", 0.0, note("plan.title_parallel", cards=cards), tag=f"{cards}-cards")
        yield replace(moved, choices=(choice,))
