"""How many of each model, in which precision each, and how several models relate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.reader import apart
from agent.reader.flags import Flags
from agent.reader.lazy import Lazy
from agent.reader.lexicon import Lexicon
from agent.reader.model_name import ModelMention
from agent.reader.quants import Precision
from agent.reader.relations import relation
from agent.reader.said import Said
from agent.reader.sheet import Sheet
from tools.domain import GpuAsk, ModelAsk

_TOTAL_MODELS = Lazy(
    r"(?<![\w.])(?<!по\s)(\d{1,3}|[^\W\d_]{2,12})\s(?:(?:vllm|triton|ollama|llm|ai|different|identical|"
    r"separate|small|large|локальн\w+|разн\w+|одинаков\w+|отдельн\w+|чатов\w+|such|more|"
    r"parallel)\s){0,2}"
    r"(models?|copies|instances|replicas|containers|services|processes|workers|llms?|модел\w*|"
    r"(?:vllm|sglang|ollama|inference|llm) (?:servers|backends|endpoints)|"
    r"копи[ийя]\w*|инстанс\w*|экземпляр\w*|реплик\w*|контейнер\w*|процесс\w*|штуки)(?![^\W\d_])"
)
_AT_ONCE = Lazy(
    r"(?<![\w])(two|three|four|2|3|4|две|два|три|четыре|двух|трех|обе)\s(?:of\sthem\s|их\s|такие\s|"
    r"таких\s|штуки\s)?(?:at once|at the same time|simultaneously|side by side|in parallel|сразу|"
    r"одновременно|рядом|параллельно|разом)"
)
_AT_ONCE_BEFORE = Lazy(r"(?:сразу|одновременно)\s(две|два|три|2|3|4)(?![\w])")
_AFTER = Lazy(
    r"\s?(?:\(?x\s?(\d{1,2})\)?(?![\w.])|,?\s?(\d{1,2}|[^\W\d_]{2,8})\s(?:штук\w*|шт|copies|copy|"
    r"instances|replicas|копи\w+|экземпляр\w*|реплик\w*|инстанс\w*|times)(?![^\W\d_])|"
    r"\s?(?:в )?(twice|дважды|двух экземплярах))"
)
_HOW_MANY = Lazy(
    r"(?:how many|сколько)\s(?:\w+\s){0,2}?(?:copies|instances|replicas|models|of them|копий|"
    r"инстанс\w*|реплик|экземпляр\w*|моделей|штук|таких)|number of instances (?:can|that)|(?:how many|"
    r"сколько)\s$"
)
_LISTED = Lazy(
    r"(?<![\w.])(\d|[^\W\d_]{2,8})\s(?:(?:different|small|local|разн\w+|локальн\w+)\s)?"
    r"(?:models|модели|моделей|моделям)\s?[(:]"
)
"""Read "two models (7B and 14B)": the number is of what is listed."""
_ASKED = Lazy(r"(?:how many|сколько)\s$")
_ONE_EACH = Lazy(
    r"(?:one|1|single|a) (?:replica|instance|copy|model|server|service)s? (?:(?:per|on each|on every|for each)"
    r"(?: (?:gpu|card|node))?|on (?:gpu|card|node|each))(?![^\W\d_])|"
    r"по одной (?:копии|реплике|модели) на (?:каждую|карту|узел|ноду)"
)
_EACH_ITS_OWN = Lazy(
    r"(?:one|a|1) (?:per|for each|on each|on every|to each) (?:gpu|card)|"
    r"each (?:on|with|gets?|having|has) (?:its|their) own|"
    r"кажд\w+ (?:на|со) сво\w+|по одной на (?:карту|видеокарту|каждую)"
)
_SECOND_SAME = Lazy(
    r"(?:a |the )?second (?:identical|copy|instance|same)|another (?:copy|instance) of|"
    r"втор\w+ (?:такую же|такой же|копи\w+|экземпляр\w*)"
)
_ORDINALS = {"third": 3, "fourth": 4, "fifth": 5, "треть": 3, "четверт": 4}
_LATER_SAME = Lazy(r"(?<![^\W_])(third|fourth|fifth|треть|четверт)\w* (?:instance|copy|replica|копи|экземпляр|инстанс)")
_TWICE = Lazy(r"(?<![^\W_])(?<!loaded\s)(?:twice|two times|дважды|два раза|в двух экземплярах)(?! as)(?![^\W_])")
_ANOTHER = Lazy(
    r"(?:and|plus|with|и|плюс)\s(?:another|a second|one more|еще одн\w+|втор\w+)(?:\s(?:one|model|"
    r"модел\w*))?(?![^\W\d_])"
)
_SAME_REPLY = Lazy(
    r"\W*(?:(?:yes|yeah|no|да|нет|ну|both|обе|оба|it'?s|they'?re|are|это|use|take|возьми|бери|просто|just)\W+)*"
    r"(?:(?:the\s)?same(?:\s(?:one|ones|thing|twice))?|(?:та|ту|тот|те|то)\sже(?:\sсам\w+)?|одинаков\w+)"
    r"(?:\W+(?:twice|for both|please|пожалуйста|дважды|два раза|обе))*\W*"
)
"""Read "the same one", "да, ту же самую"."""
_BOTH_OF = frozenset({"both", "обе", "оба"})
_JOINED = frozenset({",", "+", "&", "and", "plus", "и", "плюс", "и еще", "and another", ", и", ", and"})
"""Between two mentions of one model these make it two copies."""
_BOTH = Lazy(r"(?<![^\W\d_])(?:both|each|all|обе|оба|каждая|каждую|все|обеих|everything)(?![^\W\d_])")
_WORKS = Lazy(
    r"(?:works|runs (?:on|ok|okay|well|great)|runs fine|runs well|already run\w*|работает|пойдет нормально)\b"
)
_REMOVE = Lazy(
    r"(?:drop|remove|without|forget|skip|kill|убери|убрать|убираем|выкинь|выкинуть|удали|"
    r"без)\s(?:the\s)?$"
)


def finish_models(
    sheet: Sheet, lexicon: Lexicon, said: Said, found: list[ModelMention], loose: Sequence[Precision], flags: Flags
) -> None:
    """Turn mentions into ModelAsks: copies, precisions, relation."""
    for mention in found:
        _count(sheet, lexicon, mention)
    for mention in found:
        mention.removed = bool(_REMOVE.search(sheet.low[max(0, mention.start - 24) : mention.start]))
    said.removed = [m.ask for m in found if m.removed]
    found = _without_background(sheet, _without_files([m for m in found if not m.removed]))
    found = _merge_same(sheet, found)
    listed = _LISTED.search(sheet.low)
    if listed and len(found) > 1 and found[0].ask.copies == len(found) == lexicon.number(listed.group(1)):
        found[0].ask = replace(found[0].ask, copies=1)
    said.at_once = apart.are_at_once(sheet)
    said.versions = apart.side_by_side(sheet, loose, found)
    loose = list(loose)
    said.split = _split(sheet, loose, found)
    if not said.split:
        loose = _give_precisions(sheet, found, loose)
    found = _with_other(sheet, found, loose)
    said.loose_precisions = [p.said for p in loose] if not found else []
    said.models = [m.ask for m in found]
    said.models_relation = relation(sheet, found)
    _total(sheet, lexicon, said, flags, found)
    if said.split and len(said.models) == 1:
        _apply_split(said)
    _who(sheet, said)
    said.variants = apart.find_variants(sheet, lexicon, None if said.models else said.instance)
    _tell_apart(said)


def speaks_of_several(sheet: Sheet, lexicon: Lexicon) -> bool:
    """Whether the text counts two or more models, named or not."""
    return any((lexicon.number(m.group(1)) or 0) > 1 for m in _TOTAL_MODELS.finditer(sheet.low))


def _count(sheet: Sheet, lexicon: Lexicon, mention: ModelMention) -> None:
    after = _AFTER.match(sheet.low, mention.end)
    if after and sheet.free(*after.span()):
        number = 2 if after.group(3) else lexicon.number(after.group(1) or after.group(2))
        if number:
            sheet.claim(*after.span())
            mention.ask = replace(mention.ask, copies=number)
            return
    start = mention.start
    for _ in range(6):
        text = sheet.low[max(0, start - 40) : start]
        word = re.search(r"(?<![\w.])(\d{1,3}|[^\W\d_]+)\s?x?[\s(\-\"]{0,2}$", text)
        if not word:
            return
        said = word.group(1)
        number = lexicon.number(said)
        place = max(0, start - 40) + word.start()
        if said in _BOTH_OF and mention.ask.size_b and (mention.ask.name or "").endswith(" model"):
            mention.ask = replace(mention.ask, copies=2)
            return
        if (
            number
            and (number > 1 or said not in {"a", "an"})
            and sheet.free(place, start)
            and not re.search(r"(?:обе|both)", said)
        ):
            sheet.claim(place, start)
            mention.ask = replace(mention.ask, copies=number)
            return
        if not lexicon.is_a("between_count_and_model", said):
            return
        start = place


def _without_files(found: list[ModelMention]) -> list[ModelMention]:
    """Read "A 38 GB model (meditron:70b)": the file's size adds nothing to a model that is named."""
    named = [m for m in found if not m.by_file]
    return named if len(named) == 1 else found


def _without_background(sheet: Sheet, found: list[ModelMention]) -> list[ModelMention]:
    """Read "A 7B works. Could I run the 33B?": what already works is not asked about."""
    kept = []
    for number, mention in enumerate(found):
        _, end = sheet.sentence(mention.end)
        later = any(other.start > end for other in found[number + 1 :])
        background = (
            later and _WORKS.match(sheet.low[mention.end : end].lstrip()) and "?" not in sheet.low[end : end + 1]
        )
        if not background:
            kept.append(mention)
    return kept


def _merge_same(sheet: Sheet, found: list[ModelMention]) -> list[ModelMention]:
    """A model named twice is one model, unless each mention carries its own precision or count, or both are joined."""
    kept: list[ModelMention] = []
    for mention in found:
        same = next((k for k in kept if _same(k.ask, mention.ask)), None)
        if same is None:
            kept.append(mention)
            continue
        first, second = same.ask, mention.ask
        if replace(first, copies=1) == replace(second, copies=1) and _joined(sheet, same, mention):
            same.ask, same.end = replace(first, copies=(first.copies or 1) + (second.copies or 1)), mention.end
            continue
        same.ask = ModelAsk(
            first.name
            if len(first.name or "") >= len(second.name or "") or (second.name or "").endswith(" model")
            else second.name,
            first.size_b if first.size_b is not None else second.size_b,
            first.variant or second.variant,
            first.precision or second.precision,
            max(first.copies or 1, second.copies or 1),
        )
    return kept


def _joined(sheet: Sheet, one: ModelMention, other: ModelMention) -> bool:
    """Read "Qwen3-14B and Qwen3-14B": a model named again right away is one more copy."""
    return one.end <= other.start and sheet.low[one.end : other.start].strip() in _JOINED


def _same(first: ModelAsk, second: ModelAsk) -> bool:
    if first.precision and second.precision and first.precision != second.precision:
        return False
    if first.size_b is not None and second.size_b is not None and first.size_b != second.size_b:
        return False
    one, two = (re.sub(r"[^a-z0-9]", "", (m.name or "").lower()) for m in (first, second))
    generic = [bool(re.fullmatch(r"[\d.]+b model", (m.name or "").lower())) for m in (first, second)]
    if any(generic):
        return first.size_b == second.size_b
    if first.size_b != second.size_b and one != two:
        return False
    return one == two


def _split(sheet: Sheet, loose: Sequence[Precision], found: list[ModelMention]) -> list[str]:
    """Read "One in fp16 and the other in int4": a precision for each instance."""
    texts = [(p, sheet.low[max(0, p.start - 36) : p.start]) for p in loose]
    chosen = [
        p.said
        for p, before in texts
        if re.search(
            r"\b(?:one|first|second|other|another|одн[аоу]й?|перв\w+|втор\w+|друг\w+)\b(?:\s[^\W\d_]+){0,3}\s?-?\s?$",
            before,
        )
    ]
    return chosen if len(chosen) > 1 and len(found) < 2 else []


def _with_other(sheet: Sheet, found: list[ModelMention], loose: Sequence[Precision]) -> list[ModelMention]:
    """Read "One Qwen in FP16 and the other in Int4": the other is one more of the same model."""
    if len(found) != 1 or len(loose) != 1 or not found[0].ask.precision:
        return found
    before = sheet.low[found[0].end : loose[0].start]
    if not re.search(r"(?:other|second|another|втор\w+|друг\w+)\s(?:[^\W\d_]+\s){0,3}$", before):
        return found
    other = ModelMention(replace(found[0].ask, precision=loose[0].said, copies=1), loose[0].start, loose[0].end)
    found[0].ask = replace(found[0].ask, copies=1)
    return [found[0], other]


def _apply_split(said: Said) -> None:
    model = said.models[0]
    said.models = [replace(model, precision=p, copies=1) for p in said.split]
    said.models_relation = "together"
    said.split = []


def _tell_apart(said: Said) -> None:
    """Give the copies of the one model that is named their variants and precisions."""
    if len(said.models) != 1:
        return
    said.models = apart.with_variants(said.models, said.variants)
    if len(said.models) > 1:
        said.models_relation = "together"
    elif said.versions:
        said.models, together = apart.in_precisions(said.models[0], said.versions, at_once=said.at_once)
        said.models_relation = "together" if together else "alternatives"


def _give_precisions(sheet: Sheet, found: list[ModelMention], loose: list[Precision]) -> list[Precision]:
    """Give each loose precision to the model it follows (or comes before), and one for "both" to all."""
    left: list[Precision] = []
    for one in loose:
        lacking = [m for m in found if m.ask.precision is None]
        if not lacking:
            left.append(one)
            continue
        near = sheet.low[max(0, one.start - 24) : one.start]
        before = [m for m in found if m.end <= one.start]
        if _BOTH.search(near) or (
            not before and len(found) == len(lacking) and len(found) > 1 and not _adjacent(sheet, one, found)
        ):
            targets = lacking
        else:
            targets = [
                before[-1]
                if before and before[-1] in lacking and not _adjacent(sheet, one, found)
                else min(lacking, key=lambda m: min(abs(m.start - one.end), abs(one.start - m.end)))
            ]
        for mention in targets:
            mention.ask = replace(mention.ask, precision=one.said)
    return left


def _adjacent(sheet: Sheet, one: Precision, found: list[ModelMention]) -> bool:
    """Whether a model's name comes right after the precision ("4bit LLaMA-30B", "Q4 of deepseek-r1")."""
    return any(
        0 <= m.start - one.end <= 14
        and re.fullmatch(r"\s?-?(?:\s?(?:of|version of|quant of|версия|the|a))*\s?", sheet.low[one.end : m.start])
        for m in found
    )


def _is_asked(sheet: Sheet, found: Sequence[ModelMention]) -> bool:
    """Whether the text asks how many instances there can be."""
    return bool(_HOW_MANY.search(sheet.low)) or any(_ASKED.search(sheet.low[: m.start]) for m in found)


def _total(sheet: Sheet, lexicon: Lexicon, said: Said, flags: Flags, found: Sequence[ModelMention]) -> None:
    """Spread "two models", "8 services", "two at once" over what was named."""
    total = said.models_total = _counted_total(sheet, lexicon, flags)
    if _is_asked(sheet, found) and len(said.models) == 1 and not (said.models[0].copies or 1) > 1:
        said.models = [replace(said.models[0], copies=None)]
    elif not total and _ONE_EACH.search(sheet.low) and len(said.models) == len(said.gpus) == 1:
        said.models = [replace(said.models[0], copies=said.gpus[0].count)]
    elif said.models and _EACH_ITS_OWN.search(sheet.low) and len(said.models) == 1 and len(said.gpus) < 2:
        _one_card_each(said, total)
    elif not total and (same := _ordinal(sheet)) and len(said.models) == 1:
        said.models = [replace(said.models[0], copies=same)]
    elif total and len(said.models) == 1 and said.models[0].copies == 1:
        if _ANOTHER.search(sheet.low) and total == 2:
            said.models = [*said.models, ModelAsk("second model")]
            said.models_relation = "together"
        else:
            said.models = [replace(said.models[0], copies=total)]
    elif flags.copies and total and not said.models:
        said.models = [ModelAsk("unnamed model", copies=total)]


def _ordinal(sheet: Sheet) -> int | None:
    """Read "a second copy", "the third instance of", "twice": how many there are with that one."""
    later = _LATER_SAME.search(sheet.low)
    if later:
        return _ORDINALS[later.group(1)]
    return 2 if _SECOND_SAME.search(sheet.low) or _TWICE.search(sheet.low) else None


def _one_card_each(said: Said, total: int | None) -> None:
    """Read "two replicas, one per GPU": as many cards as copies where only copies are counted."""
    copies = said.models[0].copies if (said.models[0].copies or 0) > 1 else total
    if copies:
        said.models = [replace(said.models[0], copies=copies)]
        known = said.gpus[0] if said.gpus else GpuAsk()
        said.gpus = said.gpus if said.count_stated else [replace(known, count=copies)]


def _counted_total(sheet: Sheet, lexicon: Lexicon, flags: Flags) -> int | None:
    """How many models or instances the text speaks of in all."""
    total = flags.copies[0] if flags.copies else None
    for match in _TOTAL_MODELS.finditer(sheet.low):
        number = lexicon.number(match.group(1))
        if number and number > 1 and sheet.free(match.start(1), match.end(1)):
            total = (
                max(total or 0, number) if match.group(2).startswith(("model", "модел", "llm")) and total else number
            )
    for pattern in (_AT_ONCE, _AT_ONCE_BEFORE):
        counted = pattern.search(sheet.low)
        if counted and not total:
            total = lexicon.number(counted.group(1))
    return total


def _who(sheet: Sheet, said: Said) -> None:
    if _SAME_REPLY.fullmatch(sheet.low):
        said.keys |= {"same"}
    if "second_one" in said.keys:
        said.instance = 1
    elif "first_one" in said.keys:
        said.instance = 0
