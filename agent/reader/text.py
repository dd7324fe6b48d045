"""Read one turn: every rule in its order, then what belongs together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from agent.reader import amounts, cards, copies, engines
from agent.reader.flags import Flags, read_flags
from agent.reader.gpus import GpuMention, find_names
from agent.reader.intent import speaks_of_models, structural, weigh_intents
from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon, lexicon
from agent.reader.logs import add_facts, model_words, without_log
from agent.reader.model_name import ModelMention
from agent.reader.models import read_models
from agent.reader.normalise import language_of, normalise
from agent.reader.placing import attach_memory, place_on_nodes
from agent.reader.quants import Precision, find_precisions, read_kv_cache
from agent.reader.relations import relation, separate
from agent.reader.said import Said
from agent.reader.sheet import Sheet
from tools.domain import GpuAsk

_BARE_COUNT = Lazy(
    r"(?:на|on|with|с|если|if|if i (?:had|have|get|buy|use|add)|for|of|по)\s"
    r"(?:(?:just|only|них|будет|их|всего|только)\s)*(\d{1,3}|[^\W\d_]{2,12})"
    r"(?:\s(?:of (?:them|these)|штук\w*|таких|instead|тогда))*[\s?.!)]*$"
)
_AND_COUNT = Lazy(
    r"\s*(?:and|what about|how about|there are|i have|"
    r"а|а если|или|or|их|их там|всего|у меня их)\s"
    r"(\d{1,2}|[^\W\d_]{2,12})(?:\s(?:already|now|of them|of those|уже))?[\s?.!]*$"
)
_HOW_MANY = Lazy(r"how many|number of|скольк|скока|количеств")
_CARDS_COUNT = Lazy(
    r"(?:карт[аы]?|карточ\w+|видюх\w*|видях\w*|видеокарт\w*|gpus?|cards?)\s(?:будет\s|теперь\s|are\s)?"
    r"(\d{1,2}|[^\W\d_]{2,12})(?:\sштук\w*)?[\s?.!)]*$"
)
"""Read "а если карты две?"."""
_TIMES_ONLY = Lazy(r"(?:[^\W\d_]+,?\s){0,2}(\d{1,2})\s?x[\s.!?]*$")
"""Read "no, 8x"."""
_OF_THEM = Lazy(
    r"(?<![\w.])(?!one\s|1\s)(\d{1,2}|[^\W\d_]{2,12})\sof\s(?:them|those|these)(?![^\W\d_]|\s(?:is|are|run|work)(?!\s(?:free|available|left)))"
    r"|(?<![^\W\d_])(две|два|три|четыре|двух|трех|четырех)\sтак(?:ие|их)(?:\sже)?(?![^\W\d_])"
)
"""Read "what about two of them for 32k"."""
_GET_SEVERAL = Lazy(
    r"(?:,|get|buy|grab|take|use|have|add|put|купить|взять|поставить|брать)(?:ting|ing)?\s(two|three|four|[2-8]|две|три|четыре)"
    r"(?=\s(?:for|of|to|and|instead|together|для|под|и|вместе)(?![^\W\d_])|[.,?!\s]*$)"
)
"""Read "the 2080 Ti, does it make sense to get two?"."""
_ALL_OF = Lazy(
    r"(?:over|across|on|use|using|на|по)\s(?:all|всех|все)\s([2-9]|1\d|two|three|four|six|eight)"
    r"(?!\w|\s?(?:gb|g\b|x))"
)
"""Read "33b over all 3"."""
_NEXT_CARD = Lazy(r"[,;]?\s?gpu\s?\d\s?[:=]?")
"""Read "GPU 0: A6000, GPU 1: A6000"."""
_NO_COUNT = frozenset({"a", "an", "both", "single", "обе", "оба", "pair", "пару"})
_ALONE = Lazy(r"\s*(\d{1,3}(?:\.\d)?)[\s.!?]*")
_ONE_MORE = Lazy(
    r"(?:add|adding|buy|buying|get|plus|добав\w+|докуп\w+|поставить|куплю|купить)\s(?:a second|"
    r"a third|a fourth|another|one more|еще одну|вторую)"
    r"(?:\s(?:one|card|gpu|карту|видеокарту|видюху|такую(?: же)?))?\s*(?:[?.!,]|$)"
)
_BUT_A_CARD = Lazy(
    r"[^\w-]*(?:(?:а|и|ну|или|тогда|если|на|насчет|что|как|вместо|лучше|нет|извини|ой|с|то|будет|"
    r"пойдет|влезет|хватит|потянет|and|or|then|if|on|with|use|using|what|how|about|instead|sorry|no|oops|rather|ok|"
    r"okay|the|will|would|it|fit|work|run|does|s)[^\w-]+)*"
)
_SHARE_GPU = Lazy(
    r"(?:same|one|single|одн(?:ой|у|а)|той же|ту же)\s(?!per\s)(?:\w+\s)?(?:gpu|card|карт\w*|видеокарт\w*|"
    r"видюх\w*)(?![^\W\d_])"
)


def read_text(raw: str) -> Said:
    """Read one turn by itself; a pasted log is read for what it states."""
    words, log = without_log(raw)
    if log is None:
        return _read_words(raw)
    said = _read_words(words)
    if not said.models:
        said.models = _read_words(model_words(log)).models[:1]
    add_facts(said, log)
    return said


def _read_words(raw: str) -> Said:
    words = lexicon()
    sheet = Sheet.of(words.mended(normalise(raw)))
    said = Said(low=sheet.low, language=language_of(sheet.text))
    said.keys = frozenset(hit.key for hit in words.phrases.find(sheet.words))
    said.engine = engines.read_engine(sheet, words)
    said.kv_cache = read_kv_cache(sheet)
    precisions = find_precisions(sheet)
    for one in precisions:
        sheet.claim(one.start, one.end)
    flags = read_flags(sheet)
    for one in precisions:
        sheet.release(one.start, one.end)
    models = read_models(sheet, words, precisions)
    loose = [p for p in precisions if sheet.free(p.start, p.end)]
    for one in loose:
        sheet.claim(one.start, one.end)
    named = find_names(sheet, words)
    nodes = amounts.read_nodes(sheet, words, flags)
    said.users = amounts.read_users(sheet, words, flags)
    gpus = _read_gpus(sheet, words, named)
    memory = amounts.read_memory(sheet)
    said.ram_gb, said.reserved_gb = memory.ram_gb, memory.reserved_gb
    said.context = amounts.read_context(sheet, flags)
    if "no_gpu" in said.keys and not named and memory.loose and said.ram_gb is None:
        said.ram_gb = memory.loose.pop(0).gb
    cards.give_listed(sheet, words, gpus)
    gpus = attach_memory(gpus, memory, flags, said)
    place_on_nodes(sheet, gpus, nodes, flags)
    said.nodes = nodes.count
    said.one_card_more = bool(_ONE_MORE.search(sheet.low)) and not models
    bare = None if gpus or models else _BARE_COUNT.search(sheet.low) or _CARDS_COUNT.search(sheet.low)
    said.bare_count = words.number(bare.group(1)) if bare and bare.group(1) not in _NO_COUNT else None
    alone = _ALONE.fullmatch(sheet.low)
    said.bare_number = float(alone.group(1)) if alone else None
    more = None if gpus or models else _bare_more(sheet)
    said.bare_copies = words.number(next(filter(None, more.groups()))) if more else None
    _finish_gpus(sheet, words, said, gpus, models, nodes, flags)
    copies.finish_models(sheet, words, said, models, loose, flags)
    if len(said.models) == len(said.gpus) == len(gpus) and separate(models, gpus) and not said.models_total:
        alone = said.models_relation == said.gpus_relation == "together"
        said.models_relation = said.gpus_relation = "separate" if alone else said.models_relation
    _read_intents(sheet, words, said, precisions, models)
    return said


def _bare_more(sheet: Sheet) -> re.Match[str] | None:
    return _AND_COUNT.match(sheet.low) or _TIMES_ONLY.match(sheet.low) or _OF_THEM.search(sheet.low)


def _read_gpus(sheet: Sheet, words: Lexicon, named: list[GpuMention]) -> list[GpuMention]:
    for mention in named:
        cards.measure(sheet, words, mention)
        mention.count_asked = cards.count_is_asked(sheet, words, mention)
    unnamed = cards.find_unnamed(sheet, words)
    if not named:
        return _best_unnamed(unnamed)
    for mention in unnamed:
        _merge_unnamed(sheet, named, mention)
    return sorted([*named, *cards.other_sizes(sheet, named)], key=lambda m: m.start)


def _best_unnamed(unnamed: list[GpuMention]) -> list[GpuMention]:
    """Of several ways to speak of the same unnamed cards keep the one that says most."""
    with_memory = [m for m in unnamed if m.memory_gb is not None]
    counted = [m for m in unnamed if (m.count or 0) > 1]
    if with_memory and counted and with_memory[0].count is None:
        with_memory[0].count = counted[0].count
    if with_memory:
        return with_memory
    return counted[:1] or unnamed[:1]


def _merge_unnamed(sheet: Sheet, named: list[GpuMention], mention: GpuMention) -> None:
    lacking = [m for m in named if m.memory_gb is None]
    if mention.count_asked:
        named[0].count_asked = named[0].count_asked or (len(named) == 1 and named[0].count is None)
    elif mention.memory_gb is not None:
        extra = re.search(
            r"(?:\+|and a|and another|второй|вторая|еще|plus|and one)\s?(?:\w+\s)?$",
            sheet.low[max(0, mention.start - 20) : mention.start],
        )
        if extra and not (mention.count or 0) > 1:
            named.append(mention)
        elif lacking:
            lacking[0].memory_gb = mention.memory_gb
            lacking[0].count = lacking[0].count or mention.count
    elif mention.count and mention.count > 1 and len(named) == 1 and named[0].count is None:
        named[0].count = mention.count


def _finish_gpus(
    sheet: Sheet,
    words: Lexicon,
    said: Said,
    gpus: list[GpuMention],
    models: list[ModelMention],
    nodes: amounts.Nodes,
    flags: Flags,
) -> None:
    gpus = _drop_rejected(sheet, said, gpus)
    every = _ALL_OF.search(sheet.low) if len(gpus) == 1 and gpus[0].name and gpus[0].count in {None, 1} else None
    if every and every.start() > gpus[0].end:
        gpus[0].count = words.number(every.group(1))
    got = _GET_SEVERAL.search(sheet.low) if len(gpus) == 1 and gpus[0].name and gpus[0].count is None else None
    if got and got.start() >= gpus[0].end:
        gpus[0].count = words.number(got.group(1))
    if not gpus and "no_gpu" not in said.keys:
        gpus = _implied(sheet, flags, several=copies.speaks_of_several(sheet, words) or bool(models))
    if "no_gpu" in said.keys and not any(g.name or g.memory_gb for g in gpus):
        gpus = []
    unique = _merge_named(sheet, gpus, nodes)
    said.count_stated = any(g.count is not None for g in unique)
    if said.one_card_more and len(unique) == 1 and (unique[0].count or 1) == 1:
        unique[0].count, said.one_card_more = 2, False
    said.only_a_card = _only_a_card(sheet, unique)
    said.implausible = any(g.count is not None and g.count < 1 for g in unique)
    said.gpus = [GpuAsk(g.name, g.memory_gb, _count_of(g), g.unified) for g in unique]
    said.gpus_relation = relation(sheet, unique)
    if said.gpus_relation == "alternatives":
        said.nodes = None


def _only_a_card(sheet: Sheet, gpus: Sequence[GpuMention]) -> bool:
    """Whether a turn only names another card ("а на H200?", "B200 then?") and no number of it."""
    if len(gpus) != 1 or gpus[0].name is None or gpus[0].count is not None or gpus[0].count_asked or gpus[0].unified:
        return False
    rest = sheet.low[: gpus[0].start] + " | " + sheet.low[gpus[0].end :] + " "
    return bool(_BUT_A_CARD.fullmatch(rest))


def _count_of(gpu: GpuMention) -> int | None:
    return gpu.count if gpu.count is not None else None if gpu.count_asked else 1


def _merge_named(sheet: Sheet, gpus: list[GpuMention], nodes: amounts.Nodes) -> list[GpuMention]:
    """A card named twice is one card, unless each mention has a count or a memory of its own."""
    unique: list[GpuMention] = []
    for gpu in gpus:
        if gpu.count_asked and gpu.name is None and gpu.memory_gb is None and not nodes.several:
            continue
        same = next((u for u in unique if _same_card(u, gpu)), None)
        if unique and _listed(sheet, unique[-1], gpu):
            unique[-1].count = (unique[-1].count or 1) + (gpu.count or 1)
            unique[-1].end = gpu.end
        elif same:
            same.count, same.memory_gb = same.count or gpu.count, same.memory_gb or gpu.memory_gb
            same.count_asked = same.count_asked or gpu.count_asked
        else:
            unique.append(gpu)
    return unique


def _listed(sheet: Sheet, one: GpuMention, other: GpuMention) -> bool:
    """Read "3090, 3090 and 4090": a card named again right away is one more."""
    between = sheet.low[one.end : other.start].strip() if one.end <= other.start else "?"
    same = one.name is not None and (one.name, one.memory_gb) == (other.name, other.memory_gb)
    return same and (between in {",", "+", "and", "и", "plus"} or bool(_NEXT_CARD.fullmatch(between)))


def _same_card(one: GpuMention, other: GpuMention) -> bool:
    memory = one.memory_gb is None or other.memory_gb in {None, one.memory_gb}
    return (
        one.name is not None
        and one.name == other.name
        and memory
        and not (one.count and other.count and one.count != other.count)
    )


def _implied(sheet: Sheet, flags: Flags, *, several: bool) -> list[GpuMention]:
    """Cards that only flags or "the same GPU" show."""
    world = (
        max(flags.tp, default=1) * max(flags.pp, default=1)
        if len(flags.tp) < 2 and len(flags.pp) < 2
        else max(flags.tp + flags.pp)
    )
    if world >= 16:
        return [GpuMention(None, 0, 0, count=world)]
    shared = _SHARE_GPU.search(sheet.low) if several else None
    return [GpuMention(None, *shared.span(), count=1)] if shared else []


_REJECTED = Lazy(
    r"(?:can'?t|cannot|won'?t|couldn'?t|hard to (?:buy|get|find)|не (?:тянет|потянет|влез\w*|хватает|идет))"
)
_NOT_THIS = Lazy(r"(?<![^\W\d_])(?:not|не)\s(?:an?\s|the\s)?$")
_FROM = Lazy(
    r"(?:(?:below|smaller than|weaker than|less than)\s(?:an?\s)?"
    r"|(?:upgrad\w+|mov\w+|switch\w*|апгрейд\w*|перейти|переход\w*):?\s(?:from|с|со)\s(?:an?\s|my\s)?)$"
)
_WISH = Lazy(
    r"(?:if i (?:buy|get|had)|what about|how about|если (?:куплю|взять|возьму|купить|поставить)|что насчет|а если)"
)
_NEED = Lazy(r"(?:или (?:надо|нужн\w+|придется)|or (?:do|would|must) i need|or is .{1,20} needed)[^.?!]{0,12}$")


def _drop_rejected(sheet: Sheet, said: Said, gpus: list[GpuMention]) -> list[GpuMention]:
    """A card that a later sentence replaces ("a 4090 can't. If I buy a Mac?") or that is only the dearer way out."""
    wish = _WISH.search(sheet.low)
    if wish and any(g.start > wish.start() for g in gpus) and _REJECTED.search(sheet.low[: wish.start()]):
        gpus = [g for g in gpus if g.start > wish.start()]
    kept = _latest_counts(sheet, gpus)
    kept = [g for g in kept if not _FROM.search(sheet.low[max(0, g.start - 40) : g.start])] or kept
    kept = [g for g in kept[:-1] if not _NOT_THIS.search(sheet.low[max(0, g.start - 12) : g.start])] + kept[-1:]
    kept = [g for g in kept if not _NEED.search(sheet.low[max(0, g.start - 40) : g.start])]
    return kept or gpus


def _latest_counts(sheet: Sheet, gpus: list[GpuMention]) -> list[GpuMention]:
    """Read "It fits 4 x H100. And 2 x H100?": of one card with two counts in two sentences, the last is asked about."""
    kept: list[GpuMention] = []
    for gpu in gpus:
        same = next((k for k in kept if k.name and k.name == gpu.name and k.count and gpu.count), None)
        if same and sheet.sentence(same.end) != sheet.sentence(gpu.end):
            kept.remove(same)
        kept.append(gpu)
    return kept


def _read_intents(
    sheet: Sheet, words: Lexicon, said: Said, precisions: Sequence[Precision], models: Sequence[ModelMention]
) -> None:
    intents = weigh_intents(sheet, words, models)
    said.on_topic = bool(said.engine or said.bare_copies or speaks_of_models(sheet, words))
    if any(g.name and g.count is None for g in said.gpus) and _HOW_MANY.search(sheet.low):
        intents["how_many_gpus"] = words.weights["amount"] + 1
    if any(m.copies is None for m in said.models):
        intents["max_copies"] = words.weights["amount"] + 1
    apart = any(b.start - a.end < 14 and relation(sheet, (a, b)) == "alternatives" for a, b in pairwise(precisions))
    shape = structural(said, engines=engines.count_alternatives(sheet, words), quants_apart=apart)
    said.intents = {key: max(intents.get(key, 0), shape.get(key, 0)) for key in {*intents, *shape}}
    said.kinds = tuple(dict.fromkeys(hit.key for hit in words.kinds.find(sheet.words)))
