"""What a network is, seen from outside: what it takes and gives, and whether its answers can be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import prod
from typing import TYPE_CHECKING

from saliscope.core.errors import LayerError, SaliscopeError
from saliscope.core.protocols import INPUT
from saliscope.study.soundness import refused_in_words

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.layers import LayerRun, Survey
    from saliscope.model.network import Network
    from saliscope.model.opened import OpenNetwork

#: Operations of one run, in units of 10^9, above which nothing is run that was not asked for.
HEAVY_GFLOP = 200.0
NOT_CHECKED = "not checked"
YES, NO = "yes", "no"
#: What to do where the network can be called and its report still ends with an error of torch.
CALL_IT = "Call the network yourself on the same tensor; the error that this one was raised from says where it ended"


@dataclass(frozen=True)
class Candidate:
    """A layer that a CAM method may watch: its grid S', its step between cells in elements, its share of the depth."""

    name: str
    grid: tuple[int, ...]
    step: tuple[float, ...]
    depth: float
    #: The layer's own output for one image, and whether it has to be laid out anew as (N, C, *S').
    shape: tuple[int, ...]
    laid_out: bool


@dataclass(frozen=True)
class Inspection:
    """A short report on a network and one input, made in `runs` forward runs.

    `facts` are (what, answer, what follows) in reading order; `layers` the last layer of every grid, `auto` the one
    that CAM methods take, with the `reason`, or why there is none.
    """

    name: str
    facts: tuple[tuple[str, str, str], ...]
    layers: tuple[Candidate, ...]
    auto: str | None
    reason: str
    runs: int

    def __getitem__(self, what: str) -> str:
        """Return the answer to one of the facts, by its name."""
        answers = {name: answer for name, answer, _ in self.facts}
        return answers[what]

    def rows(self) -> list[dict[str, str]]:
        """Return the facts as rows of a table."""
        return [{"what": what, "answer": answer, "what follows": then} for what, answer, then in self.facts]

    def layer_rows(self) -> list[dict[str, str]]:
        """Return the candidate layers as rows of a table, from shallow to deep."""
        return [
            {
                "layer": layer.name + (" (auto)" if layer.name == self.auto else ""),
                "grid": " x ".join(map(str, layer.grid)),
                "cell": " x ".join(f"{s:g}" for s in layer.step),
                "depth": f"{100 * layer.depth:.0f} %",
                "output": f"{layer.shape}{', laid out as (N, C, *S)' if layer.laid_out else ''}",
            }
            for layer in self.layers
        ]

    def __str__(self) -> str:
        """Return the report as text."""
        head = f"{self.name}, seen in {self.runs} forward run{'s' if self.runs != 1 else ''}"
        auto = f"CAM methods watch {self.auto}: {self.reason}." if self.auto else f"No CAM method: {self.reason}"
        parts = [head, _text(self.rows()), *([_text(self.layer_rows())] if self.layers else []), auto]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        tables = "".join(_html(rows) for rows in (self.rows(), self.layer_rows()) if rows)
        return f"<p><b>{escape(self.name)}</b>, {self.runs} forward runs</p>{tables}<p>{escape(self.reason)}</p>"


def inspected(network: Network, x: Tensor, heavy_gflop: float = HEAVY_GFLOP) -> Inspection:
    """Return the report on a network and the first image of x (N, C, *S).

    At most three forward runs: one that is followed, one more with its way back, one of three images. Above
    `heavy_gflop` only the first is made, and what is known from earlier runs is told. Raises ModelError where the
    network does not run.
    """
    import torch

    with torch.inference_mode(mode=False), refused_in_words("inspect", network.name, do=CALL_IT):
        one = x[:1].detach().to(network.device, network.dtype, copy=True)
        with network.opened() as model:
            survey = model.survey(one)
            output = survey.output if model.counts.look_samples else model.run_alone(one)
            heavy = survey.flops > heavy_gflop * 1e9
            facts = [
                ("input", f"(N, {', '.join(map(str, one.shape[1:]))}) {one.dtype}".replace("torch.", ""), ""),
                *_of_parts(model, one),
                *_of_output(network, output),
                *_of_way_back(model, one, output, survey, heavy=heavy),
                *_of_batch(model, one, output, heavy=heavy),
                ("operations", f"{survey.flops / 1e9:.3g} GFLOP an image", ""),
            ]
            runs = model.counts.look_samples
        own = [name for name in model.changed if not name.startswith(("random", "numpy.random"))]
    facts.append(
        (
            "leaves itself unchanged",
            NO if own else YES,
            f"its runs changed {_listed(own)}; that is put back" if own else "",
        )
    )
    auto, reason = _auto(survey.runs)
    layers = tuple(_candidate(run) for run in _shown(survey.runs, auto))
    return Inspection(network.name, tuple(facts), layers, auto, reason, _forward_runs(runs))


def _forward_runs(samples: int) -> int:
    """Return how many runs so many looked-at samples were: the run of a batch counts six of them."""
    return samples - 5 if samples > 6 else samples


def _of_parts(model: OpenNetwork, one: Tensor) -> list[tuple[str, str, str]]:
    """Return how many channels the first convolution takes, and whether parameters are of the input's size."""
    from torch.nn.modules.conv import _ConvNd

    first = next((m for m in model.module.modules() if isinstance(m, _ConvNd)), None)
    facts = [("channels wanted", str(first.in_channels), "")] if first is not None else []
    cells = {prod(run.grid.shape) for run in model.runs(one) if run.grid is not None}
    fixed = [n for n, p in model.module.named_parameters() if "pos" in n.lower() and cells & _sizes(p.shape)]
    then = f"{_listed(fixed)} has one entry a place: other sizes may be refused" if fixed else ""
    return [
        *facts,
        ("size wanted", " x ".join(map(str, one.shape[2:])) if fixed else "not fixed by its parameters", then),
    ]


def _sizes(shape: Sequence[int]) -> set[int]:
    """Return the sizes of axes, also without one or two tokens beside the places."""
    return {size - beside for size in shape for beside in (0, 1, 2)}


def _of_output(network: Network, output: Tensor) -> list[tuple[str, str, str]]:
    shape = f"(N, {', '.join(map(str, output.shape[1:]))})" if output.ndim > 1 else f"{tuple(output.shape)}"
    facts = [("output", f"{shape} {output.dtype}".replace("torch.", ""), "")]
    finite = bool(output.isfinite().all())
    facts.append(("finite", YES if finite else NO, "" if finite else "refused: look for NaN among the weights"))
    if output.ndim == 1:
        kind = "asked for", "one number an image stands in (N, 1): return output[:, None]"
    elif output.ndim > 2 and network.kind != "segmentation":
        kind = "asked for", "say kind='segmentation' for a map of classes, or give a function of the output as target"
    elif output.ndim == 2 and output.shape[1] == 1 and network.kind == "multi-class":
        kind = "asked for", "one logit is no share of 100 %: say kind='binary' or kind='regression'"
    else:
        said = "said" if network.kind != "multi-class" else "taken; say kind='multi-label' if classes do not exclude"
        kind = network.kind, said
    facts.append(("kind", *kind))
    ends = ending(output, network.kind)
    facts.append(
        ("logits", NO if ends else YES, f"they look like {ends}: maps of saturated values fade" if ends else "")
    )
    return facts


def ending(output: Tensor, kind: str) -> str:
    """Return what an output (N, classes) seems to have passed already: probabilities or their logarithms; or ""."""
    if kind == "regression" or output.ndim < 2 or output.shape[1] < 2:
        single = output.ndim == 2 and kind in ("binary", "multi-label")
        return "probabilities" if single and output.min() >= 0 and output.max() <= 1 else ""
    values = output.detach().double()
    if bool((values <= 0).all()) and bool((values.logsumexp(1).abs() < 1e-3).all()):
        return "log-probabilities"
    if values.min() < 0 or values.max() > 1:
        return ""
    summed = bool(((values.sum(1) - 1).abs() < 1e-3).all())
    return "probabilities" if summed or kind in ("multi-label", "binary") else ""


def _of_way_back(
    model: OpenNetwork, one: Tensor, output: Tensor, survey: Survey, *, heavy: bool
) -> list[tuple[str, str, str]]:
    """Return whether the network repeats its output, and whether gradients pass, from one run with its way back."""
    from saliscope.model.independence import same

    if heavy:
        why = "one run is heavy; the methods' own runs tell"
        return [("repeats its output", NOT_CHECKED, why), ("differentiable", NOT_CHECKED, why)]
    model.counts.look_samples += 1
    try:
        probe = model.probe(one, [INPUT])
        again = probe.output.detach()
        gradient = next(iter(probe.gradients(again_scores(probe.output))))[INPUT]
    except SaliscopeError as error:
        return [
            ("repeats its output", NOT_CHECKED, ""),
            ("differentiable", NO, f"only occlusion and the like: {error.got}"),
        ]
    repeats = same(again, output, one)
    facts = [("repeats its output", YES if repeats else NO, "" if repeats else "maps of two calls differ")]
    if bool(gradient.any()):
        return [*facts, ("differentiable", YES, "")]
    types = _listed([f"{kind} by {made}" for kind, made in survey.coarse.items()])
    then = (
        f"values pass through {types}: only occlusion and the like" if types else "the gradient is zero at this image"
    )
    return [*facts, ("differentiable", NO, then)]


def again_scores(output: Tensor) -> Tensor:
    """Return one score (N, 1) that depends on the whole output, no entry of which outweighs by its sign."""
    flat = output.reshape(len(output), -1)
    return flat.square().sum(1, keepdim=True) + flat.sum(1, keepdim=True)


def _of_batch(model: OpenNetwork, one: Tensor, output: Tensor, *, heavy: bool) -> list[tuple[str, str, str]]:
    what = "images apart in a batch"
    tried = model.tried_independence(one)
    if tried is None and heavy:
        return [(what, NOT_CHECKED, "one run is heavy; it is checked when a method runs several copies")]
    tried = tried or model.independence(one, alone=output)
    return [(what, YES if tried.together else NO, "" if tried.together else f"run one at a time: {tried.reason}")]


def _auto(runs: Sequence[LayerRun]) -> tuple[str | None, str]:
    from saliscope.model.layer_choice import choose_layer

    try:
        return choose_layer(runs)
    except LayerError as error:
        return None, str(error)


def _shown(runs: Sequence[LayerRun], auto: str | None) -> list[LayerRun]:
    """Return the last layer of every grid, and the one that CAM methods take."""
    from saliscope.model.layer_choice import stages

    names = dict.fromkeys([*stages(runs), *([auto] if auto else [])])
    return sorted((r for r in runs if r.name in names and r.grid is not None), key=lambda r: r.value)


def _candidate(run: LayerRun) -> Candidate:
    assert run.grid is not None
    step = tuple(round(s, 3) for s in run.grid.cells.stride)
    return Candidate(run.name, run.grid.shape, step, run.depth, run.shape, not run.grid.plain)


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _text(rows: Sequence[dict[str, str]]) -> str:
    names = list(rows[0])
    widths = {n: max(len(n), *(len(r[n]) for r in rows)) for n in names}
    lines = [{n: n.upper() for n in names}, *rows]
    return "\n".join("  ".join(r[n].ljust(widths[n]) for n in names).rstrip() for r in lines)


def _html(rows: Sequence[dict[str, str]]) -> str:
    head = "".join(f"<th>{escape(n)}</th>" for n in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(v)}</td>" for v in r.values()) + "</tr>" for r in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
