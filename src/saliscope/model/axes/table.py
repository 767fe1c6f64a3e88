"""Which ATen operation follows which rule; the others work element by element, or are not known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from saliscope.model.axes import kernels, places
from saliscope.model.axes.rules import (
    Call,
    Result,
    Rule,
    alone,
    attended,
    concatenated,
    every,
    indexed,
    linear,
    met,
    multiplied,
    parted,
    permuted,
    resampled,
    selected,
    sliced,
    stacked,
    summed,
    transposed,
    unsqueezed,
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "_view_copy", "flatten"),
        alone(lambda s, c: places.viewed(s, c.out)),
    ),
    "permute": alone(permuted),
    **dict.fromkeys(("transpose", "t", "swapaxes"), alone(transposed)),
    "unsqueeze": alone(unsqueezed),
    "squeeze": alone(lambda s, c: places.squeezed(s, c.args[0], c.out, c.integers("dim"))),
    **dict.fromkeys(("expand", "repeat"), alone(lambda s, c: places.repeated(s, c.args[0], c.out))),
    "select": selected,
    "slice": sliced,
    **dict.fromkeys(("split", "split_with_sizes", "unbind", "chunk"), parted),
    **dict.fromkeys(("index", "index_select"), indexed),
    "cat": concatenated,
    "stack": stacked,
    "flip": alone(lambda s, c: places.flipped(s, c.integers("dims") or [])),
    "rot90": alone(lambda s, c: places.turned(s, c.integer("k", 1), c.integers("dims") or [0, 1])),
    "roll": alone(lambda s, c: places.rolled(s, c.integers("shifts") or [], c.integers("dims") or [])),
    "unfold": alone(
        lambda s, c: places.sliding(s, c.integer("dimension"), c.integer("size"), c.integer("step", 1), c.out)
    ),
    "im2col": alone(lambda s, c: places.patches(s, c.args, c.out), "all"),
    **dict.fromkeys(
        ("col2im", "as_strided", "gather", "scatter", "sort", "topk", "grid_sampler_2d", "grid_sampler_3d"),
        lambda c: (None, every(c, "all")),
    ),
    **dict.fromkeys(
        ("convolution", "_convolution"), alone(lambda s, c: kernels.convolution(s, c.args, c.out), "all")
    ),
    "pixel_unshuffle": alone(lambda s, c: kernels.unshuffled(s, c.integer("downscale_factor", 1), c.out), "all"),
    "glu": alone(lambda s, c: places.halved(s, c.integer("dim", -1), c.out)),
    "pixel_shuffle": alone(lambda s, c: kernels.shuffled(s, c.integer("upscale_factor", 1), c.out), "all"),
    **dict.fromkeys(("mm", "bmm", "matmul", "mv", "dot"), multiplied(0, 1)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv"), multiplied(1, 2)),
    "linear": linear,
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "logsumexp", "norm",
         "linalg_vector_norm", "prod", "argmax", "argmin", "any", "all", "nansum", "median", "mode"),
        summed,
    ),
    **dict.fromkeys(("mkldnn_rnn_layer", "lstm", "gru", "rnn_tanh", "rnn_relu", "_cudnn_rnn", "miopen_rnn"),
                    lambda c: (None, every(c, "all"))),
}  # fmt: skip
#: By the beginning of the name; the first that fits.
FAMILIES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("max_pool", "avg_pool"), resampled(kernels.pool)),
    (("_adaptive_avg_pool", "adaptive_avg_pool", "adaptive_max_pool"),
     resampled(lambda s, a, o, n: kernels.edge_to_edge(s, a[0], o, n))),
    (("upsample_", "_upsample_"), resampled(kernels.upsampled)),
    (("constant_pad_nd", "reflection_pad", "replication_pad"),
     alone(lambda s, c: kernels.padded(s, c.args[1], c.out))),
    (("_scaled_dot_product", "scaled_dot_product", "_flash_attention", "_efficient_attention"), attended),
    (("_fft", "fft_"), lambda c: (None, every(c, "all"))),
)  # fmt: skip


def told(call: Call) -> Result:
    """Return the axes of a call's output, None where nothing is known, and what it hands on of each of its tensors."""
    rule = rule_of(call.name)
    if rule is None or call.meets:
        return met(call)
    state, shares = rule(call)
    if state is None or len(state.axes) != call.out.ndim:
        return None, shares
    if call.name in SUMMING:
        return state, shares
    gone = {d for s in call.states if s is not None for d in s.dims()} - state.dims()
    return state.losing(gone), shares


#: Operations after which an axis of space may be gone for good: summed over, or one entry of it taken. A convolution
#: sums over what lies in its channels, and says itself what it mixes.
SUMMING = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "logsumexp", "norm", "nansum",
    "linalg_vector_norm", "prod", "argmax", "argmin", "any", "all", "median", "mode", "select", "unbind", "convolution",
    "_convolution", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d",
})  # fmt: skip


@cache
def rule_of(name: str) -> Rule | None:
    """Return the rule of an operation by its plain name; None for one that works element by element."""
    return RULES.get(name) or next((rule for names, rule in FAMILIES if name.startswith(names)), None)
