"""The two calls for whoever has a module and an image: saliscope.explain, and saliscope.inspect before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from saliscope.core.explanation import Explanation
from saliscope.core.explanations import Explanations
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind
from saliscope.model.frame import Step
from saliscope.model.network import Network
from saliscope.model.view import ToView
from saliscope.study.arguments import AskedMethods, check_words
from saliscope.study.call import Call, Request, network_and_methods, network_of
from saliscope.study.explain import explained
from saliscope.study.inspection import HEAVY_GFLOP, Inspection, inspected
from saliscope.study.progress import Progress, Said, telling, within
from saliscope.study.question import Asked, asks_for_several

if TYPE_CHECKING:
    from typing import Unpack

    from torch import Tensor, nn

    from saliscope.study.keywords import AnyModel, Keywords, OneImage, OneMethod, OneTarget, Seen

    #: Words that stand for several targets: a list is the answer.
    SeveralWords = Literal["all", "called"]


# Of overloads that overlap the first counts: words for several, then one of each, then whatever is left.
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage | Seen, model: AnyModel, method: OneMethod, target: SeveralWords, layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage | Seen, model: AnyModel, method: OneMethod = ..., *, target: SeveralWords, layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage, model: AnyModel, method: OneMethod = ..., target: OneTarget = ..., layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanation: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: Seen, model: AnyModel, method: OneMethod = ..., target: OneTarget = ..., layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanation | Explanations: ...  # fmt: skip
@overload
def explain(
    x: OneImage | Seen | Sequence[OneImage], model: AnyModel, method: OneMethod | Sequence[OneMethod] = ...,
    target: Asked = ..., layer: str | None = ..., **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
@overload
def explain(
    x: Any, model: AnyModel, method: AskedMethods = ..., target: Any = ..., layer: Any = ..., **options: Any,
) -> Explanation | Explanations: ...  # fmt: skip
def explain(
    x: Any,
    model: nn.Module | Network | str | Path,
    method: AskedMethods = "grad-cam",
    target: Asked = "top",
    layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    spacing_mm: Sequence[float] | None = None,
    reshape_transform: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[nn.Module, Tensor], object] | None = None,
    progress: Progress = False,
    **options: Any,
) -> Explanation | Explanations:
    """Return where in an image a network's answer came from: one explanation, or a list of them.

    `x` is an image: a path, a MedicalImage, a picture of Pillow, an array (row, column), (row, column, 3) of bytes or
    (plane, row, column), or a list of these. Or it is a tensor or floating array (N, C, *S) that is already as the
    network expects it; its spacing is unknown unless given, or unless a MetaTensor of MONAI has an affine. One channel
    is given three times to a network that takes three, which is noted. `model` is any module, a Network, or the name
    or path of a model card. `method` is a name, a method, a list of these, or names with options such as
    `{"smoothgrad": {"samples": 50}}`; further keywords set options too: `samples=50`.
    `target` is a label, an index, "top" (what the model calls, by its operating thresholds where there are any),
    "called" (all that it calls), "all", one of the sorts of `saliscope explain --help` such as
    "contrast:malignant/benign", any object of `saliscope.core.target`, a list of these, or a function from the output
    to scores (N,). A tensor or array of N indices is one target for each of N images, as captum has it; a list is
    asked of every image. `layer` is a dotted name or a module of the network; None takes the card's, or the last
    spatial one. The rest describes a bare module: its labels, the kind of its output, the view that makes its input of
    an image, and where its logits are if it returns several things.
    `view` is a list of steps, or your own preprocessing: any deterministic function of an image (torchvision, MONAI,
    albumentations, your own), whose places are learnt so that the map returns to the image.
    Layers of tokens, with channels last, or folded into the batch are laid out by their followed axes;
    `reshape_transform`, a function from the layer's output to (N, C, *S'), does it in place of that. `forward` calls a
    module that needs more than the image: `lambda net, x: net(x, table)`.
    A tensor of images that a network gives one answer for, as for a bag of patches, gives one map for each image.
    A list comes back when several images, methods or targets were asked for, in that order: images, targets, methods.
    `progress` is called with a sentence at each step; True writes a line on stderr, where it is a terminal.
    Raises a SaliscopeError that says what does not fit; warns (NetworkWarning) where the network's card says so, and
    (TargetWarning) where a list of targets could mean two things.

        >>> saliscope.explain(x, net, "grad-cam", target=1).geometry.spacing
        (2.0, 2.0)
        >>> saliscope.explain(np.eye(16, dtype=np.float32), net, "smoothgrad", np.int64(1), samples=8).target
        'class 1'
        >>> [e.provenance.method for e in saliscope.explain(x, net, ["gradient", "occlusion"], target=1)]
        ['gradient', 'occlusion']
    """
    network, methods = network_and_methods(
        model, method, layer, options, labels=labels, kind=kind, view=view, output=output,
        reshape_transform=reshape_transform, forward=forward,
    )  # fmt: skip
    call = Call.of(x, network, target, spacing_mm, viewed=view is not None)
    with telling(progress) as said:
        found = call.on_its_channels(lambda requests: _explained(requests, methods, said))
    several = not isinstance(method, str | Method | type) or asks_for_several(call.asked)
    return found[0] if len(found) == 1 and call.of_one_image and not several else found


def _explained(requests: Sequence[Request], methods: Mapping[str, Method], said: Said | None) -> Explanations:
    found = Explanations()
    for number, (network, batch, share) in enumerate(requests, start=1):
        part = f"{number} of {len(requests)}" if len(requests) > 1 else ""
        found += explained(batch, network, methods, share, within(said, part))
    return found


def inspect(
    model: nn.Module | Network | str | Path,
    x: Any,
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    heavy_gflop: float = HEAVY_GFLOP,
) -> Inspection:
    """Return a short report on a network, before anything is explained: what it takes, gives, and lets be explained.

    `x` is one image, as a path or a MedicalImage, or a tensor (N, C, *S) as the network sees it, of which the first is
    taken. At most three forward runs are made; above `heavy_gflop` (10^9 operations a run) one, and what was not
    checked is said. The rest is as in `explain`. Print the report, or look at `facts`, `layers`, `auto`.
    Raises ModelError where the network does not run on the image.

        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        >>> saliscope.inspect(net, torch.rand(1, 1, 16, 16)).auto
        '0'
    """
    check_words(labels, kind, output)
    call = Call.of(x, network_of(model, labels, kind, view, output), 0, None, viewed=view is not None)
    return inspected(call.network, call.batches(alone=True)[0][0].view.tensor, heavy_gflop)
