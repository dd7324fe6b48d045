"""A plan made again for another engine: the same models and load, checkpoints that the other engine loads."""

from __future__ import annotations

from dataclasses import replace

from tools.domain import Gpu, InstancePlan, InstanceRequest, Note, Placement, Plan, PlanRequest, Rig, note
from tools.errors import NoSuchOption
from tools.plan.checkpoints import published_sixteen, special, word_for
from tools.plan.engines import display_name, engine
from tools.plan.moves import plain_precision
from tools.plan.planner import make_plan
from tools.specs.formats import SIXTEEN_BIT


def replan(plan: Plan, option: str | None, engine_name: str) -> tuple[Plan, str, tuple[Note, ...]]:
    """Make a chosen option of a plan again for another engine.

    Models, contexts, users, residency and sharing stay; formats that the engine does not load are mapped to the nearest
    that people run with it (16 and 8 bits to Q8_0, 4 bits to Q4_K_M), which is said.

    Args:
        plan: a plan for any engine.
        option: an option's id, ``"as_asked"``, or None where none was chosen: then what was asked is planned again, not
            the changes that the first engine called for.
        engine_name: the command line's word for the other engine.

    Returns:
        The new plan, the id of its option that corresponds to the chosen one (its own recommended one where that does
        not fit), and what is to be said.

    Raises:
        NoSuchOption: the plan has no such option.
        BadValue: the other engine has no checkpoint of a model; the message says why.
        NotYetExact: the other engine's figures for a model are not covered.
    """
    asked = option is None and plan.as_asked.instances  # what was found for one engine is no wish for the other
    placement = plan.as_asked if asked else _placement(plan, option)
    request, notes = _request(plan, placement, engine_name)
    made = make_plan(request)
    chosen = _corresponding(made, placement)
    name = display_name(engine_name)
    notes = [*notes, *_mapped(placement, made.placement(chosen), name)]
    if made.placement(chosen).verdict == "fits" and chosen != made.recommended:
        made = replace(made, recommended=chosen, reason=note("plan.reason_mapped", engine=display_name(_engine(plan))))
    elif made.placement(chosen).verdict != "fits" and made.recommended != chosen:
        chosen = made.recommended
        notes.append(note("plan.mapped_changed", engine=name, option=chosen))
    return made, chosen, tuple(notes)


def _engine(plan: Plan) -> str:
    return plan.request.engine


def _placement(plan: Plan, option: str | None) -> Placement:
    try:
        return plan.placement(option)
    except KeyError:
        allowed = ", ".join(["as_asked", *(one.id for one in plan.options)])
        raise NoSuchOption("errors_launch.no_such_option", option=option, allowed=allowed) from None


def _request(plan: Plan, placement: Placement, engine_name: str) -> tuple[PlanRequest, list[Note]]:
    """What the other engine is asked for: an instance for each served name, in the formats that it loads."""
    asked, rules = plan.request, engine(engine_name)
    notes: list[Note] = []
    instances = [one for placed in placement.instances for one in _instances(asked, placed, engine_name)]
    small = any(placed.deployment.kv_dtype != "auto" for placed in placement.instances)
    if small and not rules.small_cache:
        notes.append(note("plan.mapped_cache", engine=rules.name))
    shares = any(len(placed.served_names) > 1 for placed in placement.instances)
    sleeps = any(not placed.awake for placed in placement.instances)
    request = replace(
        asked,
        instances=tuple(instances),
        rig=_rig(asked.rig, placement),
        engine=engine_name,
        engine_version=None,
        kv_dtype=(rules.small_cache or "auto") if small else "auto",
        residency="swap" if sleeps else "auto" if asked.residency == "swap" else asked.residency,
        same_model=True if shares else asked.same_model,
        assumptions=tuple(one for one in asked.assumptions if one.code != "plan.assume_engine"),
    )
    return request, notes


def _instances(asked: PlanRequest, placed: InstancePlan, engine_name: str) -> list[InstanceRequest]:
    deployment, names = placed.deployment, placed.served_names
    model = deployment.model
    stated = "precision" in asked.stated and any(
        one.precision in SIXTEEN_BIT for one in asked.instances if one.model.name == model.name
    )
    word = word_for(model, deployment.checkpoint, engine_name)
    sixteen = published_sixteen(model) if stated and deployment.checkpoint.quantization.method == "none" else None
    if sixteen and engine(engine_name).loads == "gguf":
        word = sixteen
    context = deployment.max_model_len or model.max_context
    users = max(1, (deployment.max_num_seqs or 1) // len(names))
    said = next((one.said for one in asked.instances if one.model.name == model.name), model.name)
    return [InstanceRequest(model, word, context, users, said)] * len(names)


def _rig(rig: Rig, placement: Placement) -> Rig:
    """The cards of the chosen placement: the rig's own, more of them, or others of the catalogue."""
    if len(placement.gpus) == len(rig.gpus) and all(
        use.name == gpu.name for use, gpu in zip(placement.gpus, rig.gpus, strict=True)
    ):
        return rig
    by_name = {gpu.name: gpu for gpu in rig.gpus}
    cards: list[Gpu] = []
    for position, use in enumerate(placement.gpus):
        own = rig.gpus[position] if position < len(rig.gpus) and rig.gpus[position].name == use.name else None
        cards.append(own or replace(by_name.get(use.name) or _of_catalogue(use.name), reserved_bytes=0))
    return replace(rig, gpus=tuple(cards))


def _of_catalogue(name: str) -> Gpu:
    from tools.specs.gpus import GpuCatalogue

    return GpuCatalogue.load().find(name).gpu


def _corresponding(made: Plan, chosen: Placement) -> str:
    """The option of the new plan that is like the chosen placement: shared where that was shared, else as asked."""
    if any(len(placed.served_names) > 1 for placed in chosen.instances):
        shared = next((one for one in made.options if one.kind == "share"), None)
        if shared:
            return shared.id
    return "as_asked"


def _mapped(before: Placement, after: Placement, name: str) -> list[Note]:
    """Say each change of format once."""
    olds = {n: placed for placed in before.instances for n in placed.served_names}
    notes: dict[tuple[str, str, str], Note] = {}
    for placed in after.instances:
        old = olds.get(placed.served_names[0]) or before.instances[0]
        was, now = old.deployment.checkpoint, placed.deployment.checkpoint
        if was.precision != now.precision or was.repo != now.repo:
            notes[was.precision, now.repo, now.precision] = note(
                "plan.mapped",
                model=placed.deployment.model.name,
                before=plain_precision(was.precision),
                after=plain_precision(now.precision),
                repo=now.repo,
                engine=name,
            )
            said = special(now, placed.deployment.model)
            if said and now.quantization.method != was.quantization.method:
                notes[now.repo, now.precision, "special"] = said
    return list(notes.values())
