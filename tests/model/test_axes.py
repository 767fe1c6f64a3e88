"""What axes mean is followed: whatever moves a grid about, it is laid out again as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nets import seeded
from torch import Tensor, nn
from torch.nn import functional

from saliscope.core.errors import LayerError
from saliscope.model.axes.follower import Follower
from saliscope.model.axes.grid import Grid, grid_of
from saliscope.model.layer_choice import choose_layer
from saliscope.model.network import Network


def followed(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Grid | None]:
    follower = Follower(x)
    with torch.no_grad(), follower:
        out = run(x)
        value = follower.value(out)
    return out, None if value is None else grid_of(value.axes, x.shape[2:])


def labelled(n: int = 2, channels: int = 3, rows: int = 8, columns: int = 12) -> Tensor:
    return torch.arange(n * channels * rows * columns, dtype=torch.float64).reshape(n, channels, rows, columns)


def windows(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "tokens of turned images": lambda x: x.transpose(2, 3).flatten(2).transpose(1, 2),
    "windows": windows,
    "rolled windows": lambda x: windows(x.roll((-2, -1), (2, 3))),
    "flipped": lambda x: x.flip(2, 3),
    "a class token": lambda x: torch.cat([x.new_zeros(len(x), 2, x.shape[1]), x.flatten(2).transpose(1, 2)], 1),
    "tokens and registers": lambda x: torch.cat([x.flatten(2).transpose(1, 2), x.new_ones(len(x), 3, x.shape[1])], 1),
    "rows in the batch": lambda x: x.permute(0, 2, 1, 3).reshape(-1, x.shape[1], x.shape[3]),
    "batch behind rows": lambda x: x.permute(2, 0, 1, 3).reshape(-1, x.shape[1], x.shape[3]),
    "space to depth": lambda x: functional.pixel_unshuffle(functional.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), 2)[
        :, ::4
    ],
    "written into a buffer": lambda x: torch.zeros_like(x).index_copy_(0, torch.arange(len(x)), x) * 0 + x,
    "stacked halves": lambda x: torch.cat([x[:, :, :4], x[:, :, 4:]], 2),
    "chunks": lambda x: torch.cat(x.chunk(3, 3), 3),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_was_moved_about_is_laid_out_as_it_was(name: str) -> None:
    x = labelled()
    out, grid = followed(MOVES[name], x)
    assert grid is not None
    assert grid.cells.stride == (1.0, 1.0)
    assert grid.cells.offset == (0.0, 0.0)
    torch.testing.assert_close(grid.laid_out(out), x, rtol=0, atol=0)
    first, _ = followed(MOVES[name], x[:1])
    torch.testing.assert_close(grid.put_back(x, first), out, rtol=0, atol=0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_reshapes_and_permutations_are_undone(data: st.DataObject) -> None:
    x = labelled(2, 3, 8, 12)

    def run(t: Tensor) -> Tensor:
        for _ in range(data.draw(st.integers(1, 5))):
            t = t.permute(*data.draw(st.permutations(range(t.ndim))))
            axis = data.draw(st.integers(0, t.ndim - 1))
            factors = [f for f in (2, 3, 4) if t.shape[axis] % f == 0 and t.shape[axis] > f]
            if factors and data.draw(st.booleans()):
                f = data.draw(st.sampled_from(factors))
                t = t.reshape(*t.shape[:axis], f, t.shape[axis] // f, *t.shape[axis + 1 :])
            elif t.ndim > 2 and axis + 1 < t.ndim and data.draw(st.booleans()):
                t = t.flatten(axis, axis + 1)
        return t

    out, grid = followed(run, x)
    assume(grid is not None)  # a reshape may cut features and rows apart at a place that is neither's
    assert grid is not None
    # The features may stand in another order; which of them is which is no place.
    found = grid.laid_out(out)
    assert found.shape == x.shape
    assert torch.equal(found.sort(dim=1).values, x)
    torch.testing.assert_close(grid.put_back(found, out), out, rtol=0, atol=0)


def test_a_space_to_depth_steps_as_far_and_stands_in_the_middle() -> None:
    _, grid = followed(lambda x: functional.pixel_unshuffle(x, 4), labelled())
    assert grid is not None
    assert (grid.cells.stride, grid.cells.offset, grid.shape) == ((4, 4), (1.5, 1.5), (2, 3))


def test_patches_of_a_linear_embedding_stand_in_the_middle_of_what_they_see() -> None:
    def embed(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        return parts @ torch.ones(16 * c, 5, dtype=x.dtype)

    _, grid = followed(embed, labelled())
    assert grid is not None
    assert (grid.cells.stride, grid.cells.offset, grid.shape) == ((4, 4), (1.5, 1.5), (2, 3))


@pytest.mark.parametrize("move", [lambda x: x.mean(2), lambda x: x.flatten(1) @ torch.ones(288, 5, dtype=x.dtype)])
def test_a_grid_that_was_mixed_away_is_none(move: Callable[[Tensor], Tensor]) -> None:
    _, grid = followed(move, labelled())
    assert grid is None or grid.present < 2


class Vit(nn.Module):
    """Patches, a class token, two transformer blocks with the norm first; the class token or the mean is the answer."""

    def __init__(self, *, mean: bool = False, depth: int = 2) -> None:
        super().__init__()
        self.mean = mean
        self.embed = nn.Conv2d(1, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True) for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(x), -1, -1), t], 1)
        for block in self.blocks:
            t = block(t)
        t = self.norm(t)
        return self.head(t[:, 1:].mean(1) if self.mean else t[:, 0])


@pytest.mark.parametrize(("mean", "layer"), [(False, "blocks.1.norm1"), (True, "norm")])
def test_auto_takes_the_last_tokens_that_the_answer_depends_on(mean: bool, layer: str) -> None:
    """Where the class token answers, the other tokens after the last attention have no gradient at all."""
    net, x = seeded(Vit(mean=mean)).eval(), torch.randn(2, 1, 16, 24, dtype=torch.float64)
    with Network(net).opened() as model:
        assert choose_layer(model.runs(x))[0] == layer
        probe = model.probe(x, [layer])
        (gradient,) = (g[layer] for g in probe.gradients(probe.output[:, :1]))
        assert gradient.shape == (2, 8, 4, 6)
        assert gradient.abs().amin(dim=(0, 1)).max() > 0
        assert model.cells(x, layer).stride == (4, 4)


@pytest.mark.parametrize("several", [True, False])
def test_an_attention_matrix_is_no_layer_to_watch(several: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.weights, self.head = nn.Conv2d(1, 4, 4, 4), nn.Identity(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            t = self.embed(x).flatten(2).transpose(1, 2)
            asking = t if several else t.mean(1, keepdim=True)
            return self.head((self.weights((asking @ t.transpose(1, 2)).softmax(-1)) @ t).mean(1))

    with Network(Attends()).opened() as model:
        x = torch.randn(1, 1, 16, 16)
        assert choose_layer(model.runs(x))[0] == "embed"
        with pytest.raises(LayerError, match="no grid of the image's places"):
            model.probe(x, ["weights"])


def test_a_way_around_the_last_layer_is_told() -> None:
    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(1, 4, 3, 2, 1)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.cat([self.a(x).mean((2, 3)), self.b(x).mean((2, 3))], 1))

    with Network(TwoWays()).opened() as model:
        layer, reason = choose_layer(model.runs(torch.randn(1, 1, 16, 16)))
    assert layer == "b"
    assert "other ways lead around it" in reason


def test_a_last_layer_that_comes_early_is_told() -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.rest = nn.Conv2d(1, 2, 4, 4), nn.Linear(32, 512)
            self.more, self.head = nn.Linear(512, 512), nn.Linear(512, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.more(self.rest(self.stem(x).flatten(1)).relu()).relu())

    with Network(Mixes()).opened() as model:
        layer, reason = choose_layer(model.runs(torch.randn(1, 1, 16, 16)))
    assert layer == "stem"
    assert "% of the operations come before it" in reason
