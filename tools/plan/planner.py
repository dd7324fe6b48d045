"""The planner: as asked first, then ways to make it work, and which of them to take and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tools.domain import InstanceRequest, Note, Option, Placement, Plan, PlanRequest, Verdict, note
from tools.plan import limits
from tools.plan.checkpoints import as_asked, special
from tools.plan.demand import Choice, Sizer
from tools.plan.engines import display_name, engine
from tools.plan.evaluate import best_effort, evaluate
from tools.plan.kernel_data import NO_HALF
from tools.plan.kernels import engine_runs, runs_on
from tools.plan.moves import State, plain_name, smaller_steps
from tools.plan.options import Finder
from tools.plan.placement import RESERVE_BYTES, RESERVE_SHARE
from tools.plan.ranking import crawls
from tools.specs.checkpoints import native
from tools.specs.processor import PROCESSOR
from tools.units import GIB


def make_plan(request: PlanRequest) -> Plan:
    """Plan what was asked: does it fit as asked, what else would work, what to take.

    Args:
        request: models, rig and every default filled in. A rig without cards is planned for too: nothing fits as asked,
            and the options say which hardware would do.

    Raises:
        NotYetExact: a model or its format is not covered exactly yet.
        BadValue: no checkpoint of a model exists in the asked precision.
    """
    sizer = Sizer(request.engine_version or limits.version_of(request.engine))
    choices = _choices(request)
    asked = State(choices=choices, gpus=request.rig.gpus)
    if request.residency == "swap" and len(choices) > 1:
        sleeps = engine(request.engine).sleeps
        asked = replace(asked, choices=tuple(replace(choice, sleeps=sleeps) for choice in choices), swap=True)
    asked, placement = _as_asked(asked, sizer)
    fits = placement.verdict == "fits"
    options = Finder(request, sizer).search(asked, fits=fits)
    verdict: Verdict = "fits" if fits else "fits_with_changes" if options else "does_not_fit"
    recommended, reason = _recommend(request, placement, options)
    return Plan(
        request=request,
        verdict=verdict,
        as_asked=placement,
        options=options,
        recommended=recommended,
        reason=reason,
        assumptions=(*request.assumptions, *_assumptions(request, placement, choices, options)),
    )


def _as_asked(asked: State, sizer: Sizer) -> tuple[State, Placement]:
    """Place what was asked; where it does not fit as the engine would run it by default, with smaller steps."""
    placement = evaluate(asked, sizer)
    for smaller in smaller_steps(asked) if placement is None else ():
        asked, placement = smaller, evaluate(smaller, sizer)
        if placement:
            break
    return asked, placement or best_effort(asked, sizer)


def _choices(request: PlanRequest) -> tuple[Choice, ...]:
    names = instance_names(request.instances)
    return tuple(
        Choice(
            served=(name,),
            model=wanted.model,
            checkpoint=as_asked(wanted.model, wanted.precision, request.rig.gpus, request.engine),
            kv_dtype=request.kv_dtype,
            context=wanted.context,
            users=wanted.users,
            engine=request.engine,
        )
        for name, wanted in zip(names, request.instances, strict=True)
    )


def instance_names(instances: Sequence[InstanceRequest]) -> tuple[str, ...]:
    """Name engines after their models, safe in file names and URLs, and number those that would be the same."""
    taken: dict[str, int] = {}
    names: list[str] = []
    for instance in instances:
        words = plain_name(instance.model)
        number = taken[words] = taken.get(words, 0) + 1
        while number > 1 and f"{words}-{number}" in names:
            number += 1
        names.append(words if number == 1 and words not in names else f"{words}-{number}")
    return tuple(names)


def _recommend(request: PlanRequest, asked: Placement, options: Sequence[Option]) -> tuple[str, Note]:
    """Choose: as asked if that fits; sharing only where it is known to be one model; else the least loss."""
    shared = next((option for option in options if option.kind == "share"), None)
    if shared and request.same_model and (asked.verdict != "fits" or _cached(shared.placement) > _cached(asked)):
        return shared.id, note("plan.reason_share")
    if asked.verdict == "fits":
        return "as_asked", note("plan.reason_fits")
    if not options:
        nothing = note("plan.reason_nothing", gib=asked.deficit_bytes / GIB)
        return "as_asked", nothing if asked.deficit_bytes else note(
            "plan.reason_no_kernel", engine=display_name(request.engine)
        )
    apart = [option for option in options if option.kind != "share"]
    if not apart:
        return options[0].id, note("plan.reason_share_only")
    on_this_rig = [option for option in apart if option.kind != "more_hardware"]
    brisk = [option for option in on_this_rig if not crawls(option)]
    best = (brisk or on_this_rig or apart)[0]
    if not crawls(best):
        return best.id, _reason(best)
    return best.id, _only_slowly([option for option in apart if option.kind == "more_hardware"])


def _cached(placement: Placement) -> int:
    """Tokens that the caches of a placement hold in all."""
    return sum(instance.footprint.kv_pool_tokens or 0 for instance in placement.instances)


def _only_slowly(hardware: Sequence[Option]) -> Note:
    """Say that an option crawls, and on which cards the models would run well: those with the least memory in all."""
    if not hardware:
        return note("plan.reason_crawls")
    least = min(hardware, key=lambda option: sum(gpu.total_bytes for gpu in option.placement.gpus))
    named = least.title.params
    return note("plan.reason_crawls_buy", cards=named.get("what") or f"{named.get('count', 1)}x {named.get('gpu')}")


def _reason(option: Option) -> Note:
    """Say why an option is taken; of several changes the one that costs most is spoken of."""
    if option.title.code == "plan.title_machines":
        return note("plan.reason_machines")
    codes = {option.title.code, *(need.code for need in option.needs)}
    if codes & {
        "plan.title_offload",
        "plan.title_experts_in_ram",
        "plan.title_layers_in_ram",
        "plan.title_offload_all",
    }:
        return note("plan.reason_offload")
    if "plan.title_swap_stop" in codes:
        return note("plan.reason_swap_stop" if option.kind == "swap" else "plan.reason_turns_stop")
    if "plan.title_swap" in codes:
        return note("plan.reason_swap" if option.kind == "swap" else "plan.reason_turns")
    if option.kind == "precision" or option.title.code == "plan.title_several":
        return note("plan.reason_precision")
    return note(f"plan.reason_{option.kind}")


def _assumptions(
    request: PlanRequest, asked: Placement, choices: Sequence[Choice], options: Sequence[Option]
) -> tuple[Note, ...]:
    """What was taken for granted, what is special about the checkpoints and cards, and what is to be settled."""
    notes = [note("plan.assume_reserve", percent=round(RESERVE_SHARE * 100), gib=RESERVE_BYTES / GIB)]
    notes += [text for choice in choices for text in choice.model.status]
    for wanted, choice in zip(request.instances, choices, strict=True):
        if wanted.precision == "any" and choice.checkpoint.precision != native(choice.model).precision:
            notes.append(note("plan.taken_as", model=wanted.model.name, precision=choice.checkpoint.precision))
        said = special(choice.checkpoint, wanted.model)
        if said:
            notes.append(said)
    if request.same_model is None and any(option.kind == "share" for option in options):
        notes.append(note("plan.ask_same_model"))
    name, cards = display_name(request.engine), request.rig.gpus
    notes += [
        note("plan.engine_not_there", gpu=gpu.name, engine=name)
        for gpu in cards
        if gpu.vendor != PROCESSOR and not engine_runs(gpu, request.engine)
    ]
    for plan in asked.instances:
        step = plan.deployment.max_num_batched_tokens
        if step:
            notes.append(note("plan.smaller_step", tokens=step, model=plan.deployment.model.name))
        card, model = cards[plan.gpu_indices[0]], plan.deployment.model
        support = runs_on(plan.deployment.checkpoint, card, request.engine)
        notes += support.needs
        if support.half and model.model_type in NO_HALF:
            notes.append(note("plan.no_half", model=model.name, gpu=card.name, engine=name))
    return tuple({(n.code, str(sorted(n.params.items()))): n for n in notes}.values())
