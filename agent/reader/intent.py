"""What is wanted: one intent, and for a configuration its kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from agent.reader.lazy import Lazy
from agent.reader.lexicon import Hit, Lexicon
from agent.reader.relations import Mention
from agent.reader.said import Said
from agent.reader.sheet import Sheet, Word

ORDER = (
    "which_quant",
    "max_copies",
    "max_users",
    "max_context",
    "how_many_gpus",
    "config",
    "explain_error",
    "which_model",
    "compare",
    "throughput",
    "memory_needed",
    "hardware_needed",
    "fit",
    "other",
)
"""Of intents of the same weight the first of these wins."""

_MORE = 0.1
"""What each further cue adds to the strongest one."""
_OWNED = ("the", "my", "this", "these", "our", "your", "that", "его", "моей", "моя", "мою", "этой", "эта", "наш", "мой")
_DIRECT = {"the", "is the", "are the"}
"""Between "what" and its noun; any other determiner shows that the noun is not what is asked."""
_MEASURED = frozenset({"gpus", "memory", "quant", "users", "context", "copies", "layers", "models", "speed"})
"""Nouns that a number right before them makes an amount."""
_TOPIC = frozenset({"models", "model", "gpus", "hardware", "memory", "quant", "context", "layers", "speed"})
_LOOSE_NOUNS = frozenset({"settings", "model", "file", "gpus"})
"""Nouns that the name of a flag may contain ("--tensor-parallel-size") and still be no more than a setting."""
_GOVERNS = frozenset({"settings", "file", "layers"})
"""What is asked for by these is the question; amounts that follow are its purpose ("which flag limits how much ..")."""
_SUPERLATIVE = Lazy(r"(?:big|larg|strong|smart|great|best)\w*(?:\s(?:of|the|possible))*$")
_COUNTED = Lazy(r"\d\s?[km]?\s?$")
_QUOTED_NUMBER = Lazy(r"(?:the|total|maximum|max|than) number of$")
"""A number that a message speaks of ("larger than the number of available GPUs")."""
_FIRM = 3.0
"""Below this weight "GPU: .." heads a list, and asks for no hardware where a card is named."""
_WISH = 3.5
"""Below this weight "a model" is a wish, and a model that is named is the one meant."""
_FLAG = Lazy(r"(?<![\w.-])-{1,2}[a-z][a-z-]+(?![\w-])|(?<![\w.-])[a-z]+(?:_[a-z]+)+(?!\w)")
_VALUE = Lazy(r"\s?=?\s?\d")
"""After a setting: it is given, not asked for ("tp 4")."""
_DENIED = Lazy(r"(?<![^\W\d_])(?:no|without|без|нет)\s$")
_RELATIVE = Lazy(r"(?<![^\W\d_])(?:this|that|these|those|exactly|than|matter)(?:'?s)?\s$")
"""Before a "what" that asks nothing ("is this what tp 4 gives?")."""
_JUST_BEFORE = 2
"""An amount may also follow its noun ("а юзеров сколько?")."""
_HEAD = Lazy(r"\W*(?:(?!\d)[\w.-]+\s){0,3}")
_HEADED = Lazy(r"\s(?:for|to|of|on|under|with|that|in|at|для|под|на|у|при|с|чтобы)\s|\s?[,:?]")
_ENDS = Lazy(r"\s?(?:please|pls|plz|пожалуйста|плиз)?[\s?!.\n]*")
_APART = Lazy(r"(?:^|[,:;-]|\band|\bи)\s*(?:(?:the|exact|expected|just|your|a|full|точная|какая|примерная|and|и)\s)*$")
"""What stands before a noun that asks by standing alone, and after it."""
_OF_ENGINE = {
    "vllm": "vllm_serve",
    "sglang": "sglang",
    "llama.cpp": "llama_cpp",
    "ollama": "ollama",
    "text-generation-webui": "webui",
}
_KINDS = ("slurm", "k8s", "docker_compose", "ray", "llama_swap", "llama_cpp", "sglang", "webui", "ollama", "vllm_serve")


def weigh_intents(sheet: Sheet, lexicon: Lexicon, names: Sequence[Mention]) -> dict[str, float]:
    """Return how strongly the words of a text speak for each intent: its strongest cue, and a little for each further.

    Args:
        sheet: the text, with everything claimed that other rules have read.
        lexicon: the cues.
        names: models in the text; what their names say is no cue.
    """
    cues: dict[str, list[float]] = {}
    nouns = _nouns(sheet, lexicon, names)
    nouns = sorted([*nouns, *_flag_nouns(sheet, nouns)], key=lambda noun: noun.start)
    sized = {"which_model": [lexicon.weights["named"]]} if _biggest(sheet, names) else {}
    cues.update(sized)
    shown = (_asked(sheet, lexicon, nouns), _measured(sheet, lexicon, nouns), _headed(sheet, lexicon, nouns))
    for intent, weight in chain(*shown, _moods(sheet, lexicon), _cued(sheet, lexicon, names)):
        cues.setdefault(intent, []).append(weight)
    return {intent: max(found) + _MORE * min(len(found) - 1, 3) for intent, found in cues.items()}


def _moods(sheet: Sheet, lexicon: Lexicon) -> Iterator[tuple[str, float]]:
    """What a sentence is: a question to be answered by yes or no, or a statement of what an engine or a card does."""
    opened: dict[int, list[Word]] = {}
    for word in sheet.words:
        start, end = sheet.sentence(word.start)
        earlier = opened.setdefault(start, [])
        if lexicon.is_a("yes_no", word.text) and word.first and sheet.low[end : end + 1] == "?":
            yield "fit", lexicon.weights["yes_no"]
        elif lexicon.is_a("behaves", word.text) and earlier and not any(lexicon.is_a("asks", w.text) for w in earlier):
            yield "explain_error", lexicon.weights["observed"]
        earlier.append(word)


def speaks_of_models(sheet: Sheet, lexicon: Lexicon) -> bool:
    """Whether a text has a noun of running models in it ("card", "context", "quant")."""
    return any(noun.key in _TOPIC for noun in lexicon.nouns.find(sheet.words))


def _cued(sheet: Sheet, lexicon: Lexicon, names: Sequence[Mention]) -> Iterator[tuple[str, float]]:
    found = {(hit.key, hit.start): hit for hit in lexicon.cues.find(sheet.words)}
    feared = [(*sheet.sentence(hit.end), hit.end) for hit in lexicon.feared.find(sheet.words)]
    for hit in found.values():
        if not any(name.start <= at < name.end for name in names for at in (hit.start, hit.end - 1)):
            intent, weight = hit.key.split(" ")
            fear = intent == "explain_error" and any(at <= hit.start < end for _, end, at in feared)
            yield ("fit", lexicon.weights["feared"]) if fear else (intent, float(weight))


def _nouns(sheet: Sheet, lexicon: Lexicon, names: Sequence[Mention]) -> list[Hit]:
    """Return the nouns that may be asked, in order; of those that start at one place the longest first."""
    found = sorted(lexicon.nouns.find(sheet.words), key=lambda hit: (hit.start, -hit.end))
    asked = [noun for noun in found if not any(name.start <= noun.start < name.end for name in names)]
    return [noun for noun in asked if _may_be_asked(sheet, noun, named=bool(names))]


def _biggest(sheet: Sheet, names: Sequence[Mention]) -> bool:
    """Whether the text asks for the biggest, or best, of a family: "the biggest Llama"."""
    return any(_SUPERLATIVE.search(sheet.low[max(0, name.start - 24) : name.start].rstrip()) for name in names)


def _flag_nouns(sheet: Sheet, nouns: Sequence[Hit]) -> Iterator[Hit]:
    """Flags and settings by their own names ("-ngl", "num_gpu") that are no noun of the lists: settings."""
    for flag in _FLAG.finditer(sheet.low):
        start = flag.start()
        known = any(start <= noun.start < flag.end() and noun.key not in _LOOSE_NOUNS for noun in nouns)
        if not known and sheet.free(*flag.span()) and not _VALUE.match(sheet.low, flag.end()):
            yield Hit("settings", start, flag.end())


def _asked(sheet: Sheet, lexicon: Lexicon, nouns: Sequence[Hit]) -> Iterator[tuple[str, float]]:
    """An asker and the first noun after it: "how many .. users", "какую .. модель"."""
    governed: set[int] = set()
    for asker in _longest(lexicon.askers.find(sheet.words)):
        if asker.key not in lexicon.asked or not _stands_alone(sheet, asker):
            continue
        sentence = sheet.sentence(asker.start)[0]
        if sentence in governed:
            continue
        said = lexicon.asked[asker.key]
        among = [noun for noun in nouns if noun.key in said] if asker.key in lexicon.passing else nouns
        if asker.key == "which" and _RELATIVE.search(sheet.low[: asker.start]):
            continue
        noun = _first_after(sheet, asker, among, lexicon.reach[asker.key])
        intent = said.get(noun.key) if noun else None
        if intent:
            yield intent, lexicon.weights[asker.key]
            if asker.key == "which" and noun and noun.key in _GOVERNS:
                governed.add(sentence)


def _measured(sheet: Sheet, lexicon: Lexicon, nouns: Sequence[Hit]) -> Iterator[tuple[str, float]]:
    """A noun and a measure right after it: "context limit", "GPU count"."""
    for measure in lexicon.measures.find(sheet.words):
        said = lexicon.measured.get(measure.key, {})
        noun = next((n for n in nouns if n.key in said and sheet.low[n.end : measure.start] in {" ", "-"}), None)
        if noun and _stands_alone(sheet, measure) and _stands_alone(sheet, noun):
            yield said[noun.key], lexicon.weights["measured"]


def _headed(sheet: Sheet, lexicon: Lexicon, nouns: Sequence[Hit]) -> Iterator[tuple[str, float]]:
    """A noun that heads a sentence or ends a question: "vllm flags for ..", "..., speed?"."""
    for noun in nouns:
        if noun.key in lexicon.alone and _stands_alone(sheet, noun) and sheet.low[: noun.start][-1:] != "-":
            start, end = sheet.sentence(noun.start)
            heads = _HEAD.fullmatch(sheet.low[start : noun.start]) and _HEADED.match(sheet.low[noun.end : end + 1])
            before = sheet.low[start : noun.start]
            ends = _ENDS.fullmatch(sheet.low[noun.end : end + 1]) and (_APART.search(before) or _HEAD.fullmatch(before))
            if heads or ends:
                yield lexicon.alone[noun.key], lexicon.weights["alone"]


def _stands_alone(sheet: Sheet, asker: Hit) -> bool:
    """Whether an asker is a word of the question, and no part of a flag or of what another rule has read."""
    if _QUOTED_NUMBER.search(sheet.low[: asker.end]):
        return False
    return sheet.free(asker.start, asker.end) and sheet.low[asker.end : asker.end + 1] not in {"_", "-"}


def _may_be_asked(sheet: Sheet, noun: Hit, *, named: bool) -> bool:
    """Whether a noun can be what is asked: no amount ("16 GB", "4 bit"), and no verb without a model it is said of."""
    counted = _COUNTED.search(sheet.low[max(0, noun.start - 4) : noun.start])
    given = noun.key == "settings" and _VALUE.match(sheet.low, noun.end)
    denied = _DENIED.search(sheet.low[max(0, noun.start - 12) : noun.start])
    return (named or noun.key != "used") and not (counted and noun.key in _MEASURED) and not given and not denied


def _longest(hits: Iterable[Hit]) -> Iterable[Hit]:
    """Of phrases that start at one word keep the longest ("what about" is no "what")."""
    return {hit.start: hit for hit in sorted(hits, key=lambda hit: hit.end)}.values()


def _first_after(sheet: Sheet, asker: Hit, nouns: Sequence[Hit], reach: float) -> Hit | None:
    limit = min(asker.end + reach, sheet.sentence(asker.end)[1])
    noun = next((n for n in nouns if n.start >= asker.end and n.start < limit), None)
    if noun is None and asker.key in {"amount", "many", "mass", "most"}:
        return next((n for n in nouns if 0 < asker.start - n.end <= _JUST_BEFORE), None)
    between = sheet.low[asker.end : noun.start].strip() if noun else ""
    if asker.key == "which" and between.endswith(_OWNED) and between not in _DIRECT:
        return None
    return noun


def choose_intent(said: Said) -> str | None:
    """Return the intent of a turn, or None where it shows none ("and with 64k?")."""
    weights = {intent: said.intents[intent] for intent in ORDER if intent in said.intents}
    named = any(g.name or g.memory_gb for g in said.gpus)
    if named and ({"fit", "config"} & weights.keys() or weights.get("hardware_needed", 0) < _FIRM):
        weights.pop("hardware_needed", None)
    if any(m.name and not m.name.endswith("model") for m in said.models) and "hardware_needed" in weights:
        weights.pop("which_model", None)
    together = len(said.models) > 1 and said.models_relation == "together"
    if together or (said.models and weights.get("which_model", 0) < _WISH):
        weights.pop("which_model", None)
    if "alternatives" in {said.gpus_relation, said.models_relation}:
        picks = [weights.pop(intent) for intent in ("hardware_needed", "which_model") if intent in weights]
        weights["compare"] = max([*picks, weights.get("compare", 0.0)])
    if len(weights) > 1:
        weights.pop("other", None)
    return max(weights, key=lambda intent: weights[intent]) if weights else None


def choose_kind(kinds: Collection[str], engine: str | None) -> str | None:
    """Return the kind of configuration: a file by its name first, then the engine's own command."""
    named = next((kind for kind in _KINDS if kind in kinds), None)
    return named or _OF_ENGINE.get(engine or "")


def structural(said: Said, *, engines: int, quants_apart: bool) -> Mapping[str, float]:
    """Return what the things that are named speak for, beside the words."""
    weights: dict[str, float] = {}
    if said.gpus_relation == "alternatives" or said.models_relation == "alternatives":
        weights["compare"] = 1.55
    if engines > 1:
        weights["compare"] = 3.0
    if quants_apart:
        weights["which_quant"] = 3.5
    return weights
