"""What `check` and `audit` ask of trust: methods and targets settled on the network, regions found, checks run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from saliscope.core.errors import InputError, MetricError, SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.core.nesting import has, inside
from saliscope.core.protocols import Method
from saliscope.core.target import Holding, Target, choose
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.perturb.plan import PerturbationPlan
from saliscope.read import Limits, read
from saliscope.study.asking import asking, dependence
from saliscope.study.cohort import Group, Member
from saliscope.study.explain import Case, explained
from saliscope.study.settle import settled
from saliscope.trust.audit_card import AuditCard, Cohort
from saliscope.trust.auditing.audited import audited
from saliscope.trust.auditing.material import Item, Material
from saliscope.trust.calibration import reliability
from saliscope.trust.checks.examine import NEEDED, examine
from saliscope.trust.checks.hidden import decision_on
from saliscope.trust.checks.preparation import misfit, preparation
from saliscope.trust.checks.resolution import smallest
from saliscope.trust.explanation_card import ExplanationCard, Tier
from saliscope.trust.regions.find import find
from saliscope.trust.subject import Subject, on_view
from saliscope.trust.wording import ALWAYS

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.core.image import MedicalImage
    from saliscope.core.region import Region
    from saliscope.model.view import View

#: What the card of a network says that takes every modality.
ANY = "any"
#: Methods of other kinds that a method is compared with, those of its own kind left out, and maps that know nothing.
OTHERS, CONTROLS = ("grad-cam", "integrated-gradients", "input-x-gradient"), ("edges", "centre", "random")
#: What is only compared with need not be exact: as many steps as an error bound asks for take minutes for a volume.
SPARE: Mapping[str, Mapping[str, int]] = {"integrated-gradients": {"steps": 16}}


def examined(
    explanation: Explanation,
    case: Case,
    network: Network,
    method: Method,
    audit: AuditCard | None,
    tier: Tier,
    said: Callable[[str], None],
    asked: Sequence[str] = (),
) -> ExplanationCard:
    """Return the card of one map; an `audit` that does not fit it counts as none; `asked` are the words of the plan."""
    fitting = audit if audit is not None and not audit.fits(explanation) else None
    image = of_known_modality(case.image, network)
    found = find(image, case.view)
    x = case.view.tensor.to(network.device, network.dtype)
    with network.opened() as model:
        placed = settled(method, case.image, case.view, network)
        target = target_of(word_of(explanation.target, asked, network), network, lambda: model(x))
        subject = Subject(
            image=image,
            view=case.view,
            explanation=explanation,
            method=on_its_layer(explanation.provenance.method, placed, network, case.view, target),
            model=model,
            target=target,
            attribution=on_view(explanation, case.view),
            plan=PerturbationPlan(x),
            regions=found.regions,
        )
        model.watch = lambda counts: said(f"{counts.samples:,} samples run")
        results = [*preparation(case.image, network.viewing), *examine(subject, fitting, tier, found.absent)]
        model.watch = None
        samples = model.counts.samples
    return ExplanationCard.of(
        explanation,
        case.image.name,
        results,
        audit=audit,
        tier=tier,
        samples=samples,
        needed=NEEDED,
        reliability=reliability(),
        always=(smallest(explanation), *ALWAYS),
    )


def card_of(
    whole: Group,
    network: Network,
    name: str,
    method: Method,
    asked: str,
    limits: Limits,
    said: Callable[[str], None],
) -> AuditCard:
    """Return the model card of explanations of one method and one target over a cohort."""
    first = whole.members[0].case(network, limits)
    (explanation,) = explained([first], network, {name: method}, [asked], said)
    said("reading the cohort")
    items = [_item(member, network, limits) for member in whole.members]
    _prepared([item.image for item in items], network)
    placed = settled(method, first.image, first.view, network)
    with network.opened() as model:
        x = first.view.tensor.to(network.device, network.dtype)
        target = target_of(asked, network, lambda: model(x), hold=False)
    own = on_its_layer(name, placed, network, first.view, target)
    material = Material(items, network, own, target, decision_on(explanation.prediction, asked))
    others = _that_run(OTHERS, network, first, target, own)
    done = audited(
        material,
        name,
        others=dict(list(others.items())[:2]),
        controls=_that_run(CONTROLS, network, first, target, None),
        said=said,
    )
    cohort = Cohort(whole.source, len(items), whole.patients, whole.excluded)
    return AuditCard.made(
        explanation,
        cohort,
        done.results,
        thresholds=done.thresholds,
        insertions=done.insertions,
        findings=done.findings,
        barred=done.barred,
        samples=done.samples,
    )


def of_known_modality(image: MedicalImage, network: Network) -> MedicalImage:
    """Return an image whose file names no modality as one of the network's own; others as they are."""
    known = network.card.modalities[0] if network.card is not None else ANY
    return image if image.modality or known == ANY else replace(image, modality=known)


def target_of(asked: str, network: Network, run: Callable[[], Tensor], *, hold: bool = True) -> Target:
    """Return the target of a word with one score, with what it holds of the output that `run` returns.

    Nothing is run where the labels are known and nothing has to be held. Raises MetricError for several scores.
    """
    target = choose([asked], network.labels or network.labels_for(run()), network.kind)
    if len(target.labels) != 1:
        raise MetricError(
            f"the target {asked!r} with {len(target.labels)} scores", expected="one", do="Check each alone."
        )
    return target.held(run) if hold and isinstance(target, Holding) else target


def word_of(label: str, asked: Sequence[str], network: Network) -> str:
    """Return the word that asked for what a map is called: "contrast:a/b" for "a against b"; a label is its own."""
    if label in network.labels:
        return label
    several = ("top", "called", "all")
    return next(
        (w for w in asked if w not in several and choose([w], network.labels, network.kind).labels == (label,)), label
    )


def on_its_layer(name: str, method: Method, network: Network, view: View, target: Target) -> Method:
    """Return the method with its layer settled as `explain` does for a target."""
    if not any(has(m, "layer") for m in inside(method)):
        return method
    x = view.tensor.to(network.device, network.dtype)
    with network.opened() as model:
        return asking(name, method, network, model.runs(x), dependence(model, x, target)).method


def _prepared(images: Sequence[MedicalImage], network: Network) -> None:
    """Refuse a cohort most of which is not what the network expects: whatever is found of it would be false."""
    why = [said for image in images if (said := misfit(image, network.viewing))]
    if 2 * len(why) > len(images):
        raise InputError(
            f"{len(why)} of {len(images)} images that are not what {network.name} expects ({why[0]})",
            expected="images with the values that the network was taught with",
            do="Give them as DICOM or NIfTI, not as pictures of them.",
        )


def _item(member: Member, network: Network, limits: Limits) -> Item:
    """Return a member with its patient, its columns and its outline, whose mask may come as any image of its size."""
    image = of_known_modality(member.source.load(limits), network)
    return Item(image, member.patient, {**member.metadata, "label": member.label}, _truth(member, image))


def _truth(member: Member, image: MedicalImage) -> Region | None:
    from saliscope.core.region import Region

    if member.mask is None:
        return None
    drawn = read(member.mask)
    mask = (drawn.values != 0).any(axis=0)
    geometry = image.geometry if mask.shape == image.geometry.shape else drawn.geometry
    return Region(mask, geometry, "outline", "drawn")


def _that_run(
    names: Sequence[str], network: Network, first: Case, target: Target, beside: Method | None
) -> Mapping[str, Method]:
    """Return the methods of some names, of other kinds than one, that can be made of the first image."""
    from saliscope.metrics.remade import maps_of

    found: dict[str, Method] = {}
    for name in names:
        plain = METHODS.make(name, **SPARE.get(name, {}))
        if beside is not None and plain.traits.family == beside.traits.family:
            continue
        try:
            method = on_its_layer(name, settled(plain, first.image, first.view, network), network, first.view, target)
            with network.opened() as model:
                maps_of(model, method, first.view.tensor.to(network.device, network.dtype), target, on_input=True)
        except SaliscopeError:
            continue  # a network that this method does not fit is no fault of the one audited
        found[name] = method
    return found
