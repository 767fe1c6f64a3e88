"""The calls that ask whether maps may be read: saliscope.check of one map, saliscope.audit of a method and model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import InputError, TargetError
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind
from saliscope.model.frame import Step
from saliscope.model.network import Network
from saliscope.model.view import ToView, Viewing
from saliscope.read import Limits, discover
from saliscope.study.arguments import AskedMethods, check_words, target_of
from saliscope.study.arrays import cases_of, grids_of, images_of, plain
from saliscope.study.audit import targets_of
from saliscope.study.call import Call, Request, network_and_methods
from saliscope.study.check import Cards, tier_of
from saliscope.study.checked import CheckedExplanation, CheckedExplanations
from saliscope.study.cohort import Group, InMemory, group
from saliscope.study.examining import card_of
from saliscope.study.explain import explained
from saliscope.study.progress import Progress, Said, telling, within
from saliscope.study.question import asks_for_several
from saliscope.trust.audit_card import AuditCard, AuditCards
from saliscope.trust.explanation_card import Tier

if TYPE_CHECKING:
    from torch import nn

    Views = ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]]

#: An audit, or the file that `saliscope audit-model` or `AuditCard.save` wrote.
AuditLike = AuditCard | str | Path
Word = str | int


def check(
    x: Any,
    model: nn.Module | Network | str | Path,
    method: AskedMethods = "grad-cam",
    target: Word | Sequence[Word] = "top",
    layer: str | nn.Module | None = None,
    *,
    card: AuditLike | Sequence[AuditLike] = (),
    tier: Tier = "quick",
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: Views | None = None,
    output: str | int | None = None,
    spacing_mm: Sequence[float] | None = None,
    progress: Progress = False,
    **options: Any,
) -> CheckedExplanation | CheckedExplanations:
    """Return maps with the cards that say whether they may be read: one, or a list as `saliscope.explain` gives it.

    What `saliscope check` does, without files; images, network, methods and progress are as in `saliscope.explain`.
    `target` is a word or an index, or several. `card` are audits of the model (`saliscope.audit`, or paths of
    audit.json); without one that fits, the best state is "not-assessed". `tier` is "quick" (about 70 forward samples a
    map) or "full" (every check that applies).
    Raises a SaliscopeError that says what does not fit: CardError for an audit, MetricError for a tier.

        >>> checked = saliscope.check(x, net, "grad-cam", target="top")
        >>> checked.state, checked.explanation.target, len(checked.reasons) > 0
        ('not-assessed', 'class 0', True)
    """
    given = [card] if isinstance(card, AuditCard | str | Path) else card
    audits = [one if isinstance(one, AuditCard) else AuditCard.read(one) for one in given]
    giver = Cards(tuple(audits), tier_of(tier))
    network, methods = network_and_methods(
        model, method, layer, options, labels=labels, kind=kind, view=view, output=output
    )
    asked = _words(target)
    call = Call.of(x, network, asked, spacing_mm, viewed=view is not None)
    with telling(progress) as said:
        found = call.on_its_channels(lambda requests: _checked(requests, methods, asked, giver, said), alone=True)
    several = not isinstance(method, str | Method | type) or asks_for_several(target)
    return found[0] if len(found) == 1 and call.of_one_image and not several else found


def audit(
    images: Any,
    model: nn.Module | Network | str | Path,
    method: AskedMethods = "grad-cam",
    target: Word | Sequence[Word] = "all",
    layer: str | nn.Module | None = None,
    *,
    table: str | Path | Sequence[Mapping[str, Any]] | None = None,
    masks: str | Path | None = None,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: Views | None = None,
    output: str | int | None = None,
    spacing_mm: Sequence[float] | None = None,
    progress: Progress = False,
    **options: Any,
) -> AuditCard | AuditCards:
    """Return what is known of a method's maps for a model, over a cohort: a card, or a list of several.

    What `saliscope audit-model` does, without files. `images` are files, folders, globs, MedicalImages, or a tensor
    (N, C, *S) as the network expects it. `table` is a CSV, or its rows by column: "image" (the file's or the image's
    name), and "patient", "label" and metadata if they are known; `masks` a folder of masks named like their images.
    There is a card for each target and method; each target is one question for all images, so "top" is none.
    Hand a card to `saliscope.check(..., card=...)`, or keep it: `card.save(folder)`, `AuditCard.read(path)`.
    Raises a SaliscopeError that says what does not fit; images that cannot be read end it.

        >>> images = torch.rand(4, 1, 64, 64)
        >>> card = saliscope.audit(images, net, "grad-cam", target=1)
        >>> card.target, card.cohort.images
        ('class 1', 4)
    """
    network, methods = network_and_methods(
        model, method, layer, options, labels=labels, kind=kind, view=view, output=output
    )
    rows = Path(table) if isinstance(table, str | Path) else table
    sources, network = _sources(images, network, spacing_mm)
    whole = group(sources, rows, Path(masks) if masks is not None else None)
    network = _labelled(network, whole)
    targets = targets_of(_words(target), network)
    found = AuditCards()
    with telling(progress) as said:
        for asked in targets:
            for name, one in methods.items():
                tell = within(said, f"{asked} by {name}") or _silent
                found.append(card_of(whole, network, name, one, asked, Limits(), tell))
    several = not isinstance(method, str | Method | type) or asks_for_several(target)
    return found if several or len(found) != 1 else found[0]


def _checked(
    requests: Sequence[Request], methods: Mapping[str, Method], asked: list[str], giver: Cards, said: Said | None
) -> CheckedExplanations:
    found = CheckedExplanations()
    for number, (network, batch, share) in enumerate(requests, start=1):
        tell = within(said, f"{number} of {len(requests)}" if len(requests) > 1 else "")
        for case in batch:
            maps = explained([case], network, methods, share, tell)
            # A check asks for the target anew, by its name.
            named = replace(network, labels=maps[0].prediction.labels or network.labels)
            cards = giver.examined(case, named, methods, maps, asked, tell or _silent)
            found += [CheckedExplanation(e, card) for e, card in zip(maps, cards, strict=True)]
    return found


def _words(target: Word | Sequence[Word]) -> list[str]:
    """Return targets as words: what is checked is asked again and again, by its name."""
    given = target_of(target, 0)
    several = [given] if isinstance(given, Word) else given
    if not isinstance(several, list | tuple) or not all(isinstance(t, Word) for t in several) or not several:
        raise TargetError(
            f"a target of type {type(target).__name__}",
            expected="a label, an index, or a word such as 'contrast:a/b', or several",
            do="Name what is to be looked at; other targets are for saliscope.explain",
        )
    return [str(t) for t in several]


def _sources(images: Any, network: Network, spacing_mm: Sequence[float] | None) -> tuple[list[Any], Network]:
    """Return the images of a cohort, and the network that sees them.

    Files are read when they are needed; what is in memory already is taken as it is.
    """
    from torch import Tensor

    check_words(spacing_mm=spacing_mm)
    images = images_of(images, spacing_mm)
    if isinstance(images, Tensor):
        if network.viewing != Viewing():
            raise InputError(
                "a tensor for a network with a view of its own",
                expected="images that the view can be made of",
                do="Give files or MedicalImages, or the bare module",
            )
        cases = cases_of(plain(images), grids_of(images, spacing_mm))
        return [InMemory(case.image) for case in cases], replace(network, viewing=Viewing(source="tensor"))
    several = list(images) if isinstance(images, list | tuple) else [images]
    held = [InMemory(one) for one in several if isinstance(one, MedicalImage)]
    paths = [one for one in several if not isinstance(one, MedicalImage)]
    if not several or not all(isinstance(one, str | Path) for one in paths):
        raise InputError(
            f"images of type {type(images).__name__}",
            expected="files, folders, globs, MedicalImages, or a tensor (N, C, *S)",
            do="Name the images of the cohort",
        )
    sources, failures = discover(paths, Limits()) if paths else ([], [])
    if failures:
        raise failures[0].error
    if not sources and not held:
        raise InputError("no image among the inputs", expected="a DICOM, NIfTI, PNG, JPEG or TIFF", do="Check the path")
    return [*sources, *held], network


def _labelled(network: Network, whole: Group) -> Network:
    """Return the network with labels, which a run of the first image gives it where it has none of its own."""
    if network.labels:
        return network
    x = whole.members[0].case(network, Limits()).view.tensor.to(network.device, network.dtype)
    with network.opened() as model:
        return replace(network, labels=network.labels_for(model(x)))


def _silent(step: str) -> None:
    """Say nothing."""
