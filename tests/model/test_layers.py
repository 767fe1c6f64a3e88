"""Which layer is chosen, and where its cells lie."""

from __future__ import annotations

import pytest
import torch
from nets import Plain, Twice, image, seeded
from torch import Tensor, nn
from torch.nn import functional

from saliscope.core.errors import LayerError
from saliscope.model.layer_choice import choose_layer
from saliscope.model.layers import cells_of, survey
from saliscope.model.network import Network


def centres(module: nn.Module, size: int, axis_size: int | None = None) -> list[tuple[float, float]]:
    """Return for each cell of a 1-channel module's output the first and last row that reaches it, by trying each.

    A NaN spreads wherever an input is used, whatever the weights.
    """
    reached: dict[int, list[int]] = {}
    for row in range(size):
        x = torch.zeros(1, 1, size, axis_size or size)
        x[0, 0, row] = float("nan")
        with torch.no_grad():
            out = module.eval()(x)
        for cell in torch.nonzero(out.isnan().any(dim=1)[0].any(dim=1)).flatten().tolist():
            reached.setdefault(cell, []).append(row)
    return [(min(rows), max(rows)) for _, rows in sorted(reached.items())]


def chain(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(1, 2, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([functional.relu(self.a(x)), self.b(x)], dim=1) * 2


NETS: dict[str, nn.Module] = {
    "strided": chain(nn.Conv2d(1, 2, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)),
    "unpadded": chain(nn.Conv2d(1, 2, 5), nn.AvgPool2d(2), nn.Conv2d(2, 2, 3)),
    "dilated": chain(nn.Conv2d(1, 2, 3, 1, 2, dilation=2), nn.MaxPool2d(2), nn.Conv2d(2, 1, 3, 1, 4, dilation=4)),
    "patches": chain(nn.Conv2d(1, 2, 8, 8)),
    "padded to one side": chain(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 2, 3, 2)),
    "branches": Branches(),
}


@pytest.mark.parametrize("name", NETS)
def test_cells_lie_where_the_receptive_fields_are(name: str) -> None:
    module, size = NETS[name], 64
    with Network(chain(module, nn.AdaptiveAvgPool2d(1), nn.Flatten())).opened() as model:
        runs = survey(model, torch.zeros(1, 1, size, size)).runs
        cells = cells_of(runs, "0", 2)
        assert model.counts.forward_samples == 0  # a survey is counted as a look, and once
    assert cells is not None
    reached = centres(module, size)
    whole = max(high - low for low, high in reached)  # elsewhere the padding cuts the field
    inner = [(i, r) for i, r in enumerate(reached) if r[1] - r[0] == whole]
    assert len(inner) >= 2
    for cell, (low, high) in inner:
        assert cells.offset[0] + cells.stride[0] * cell == pytest.approx((low + high) / 2)
        assert cells.field[0] == high - low + 1


@pytest.mark.parametrize("name", ["strided", "unpadded", "padded to one side"])
def test_the_measured_grid_is_more_right_than_stretching(name: str) -> None:
    """A bright spot is found where it is by the measured grid, and elsewhere by stretching edge to edge."""
    torch.manual_seed(0)
    module, size = NETS[name], 64
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(1.0) if p.ndim > 1 else p.zero_()
    with Network(chain(module, nn.Flatten())).opened() as model:
        cells = cells_of(survey(model, torch.zeros(1, 1, size, size)).runs, "0", 2)
    assert cells is not None
    measured, stretched = [], []
    for row in range(24, 40):
        x = torch.zeros(1, 1, size, size)
        x[0, 0, row, 32] = 1
        with torch.no_grad():
            heat = module(x).sum(dim=(0, 1, 3)).double()
        cell = float((heat * torch.arange(len(heat))).sum() / heat.sum())
        measured.append(abs(cells.offset[0] + cells.stride[0] * cell - row))
        stretched.append(abs((cell + 0.5) * size / len(heat) - 0.5 - row))
    assert sum(measured) < sum(stretched)
    # Below half a cell's step everywhere; what is left is the coarseness of the cells, not a shift.
    assert max(measured) <= cells.stride[0] / 2


def test_three_axes_of_their_own() -> None:
    module = nn.Conv3d(1, 2, (3, 5, 7), (1, 2, 4), (1, 0, 3))
    with Network(chain(module, nn.AdaptiveAvgPool3d(1), nn.Flatten())).opened() as model:
        cells = cells_of(survey(model, torch.zeros(1, 1, 20, 20, 20)).runs, "0", 3)
    assert cells is not None
    assert (cells.stride, cells.offset, cells.field) == ((1, 2, 4), (0, 2, 0), (3, 5, 7))


@pytest.mark.parametrize("mode", ["transposed", "nearest", "bilinear"])
def test_upsampling_by_two_undoes_a_step_of_two(mode: str) -> None:
    """Outputs 2j and 2j + 1 look at input cell j, whose centre is at 2j: their centres lie half an element about it."""
    up = nn.ConvTranspose2d(2, 2, 2, 2) if mode == "transposed" else nn.Upsample(scale_factor=2, mode=mode)
    with Network(chain(nn.Conv2d(1, 2, 3, 2, 1), up, nn.Conv2d(2, 1, 1))).opened() as model:
        cells = cells_of(survey(model, torch.zeros(1, 1, 16, 16)).runs, "1", 2)
    assert cells is not None
    assert cells.stride == (1, 1)
    assert cells.offset == (-0.5, -0.5)


def test_where_branches_of_different_centres_meet_the_middle_is_taken() -> None:
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.met = nn.Conv2d(1, 2, 3, 2, 1), nn.AvgPool2d(2), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = self.met(torch.cat([self.a(x), self.b(x)], dim=1))  # centres 0, 2, 4 ... and 0.5, 2.5, 4.5 ...
            return y.mean(dim=(2, 3))

    with Network(Uneven()).opened() as model:
        runs = survey(model, torch.zeros(1, 1, 8, 8)).runs
    met = cells_of(runs, "met", 2)
    assert met is not None
    assert (met.stride, met.offset) == ((2, 2), (0.25, 0.25))


def test_what_moves_the_grid_about_is_followed() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.after = nn.Conv2d(1, 1, 3, 1, 1), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.conv(x).transpose(2, 3).clone()).mean(dim=(2, 3))

    module, x = Turned(), torch.rand(1, 1, 8, 6)
    with Network(module).opened() as model:
        probed = model.probe(x, ["conv", "after"])
    assert probed.raw("after").shape == (1, 1, 6, 8)
    assert torch.equal(probed.activations["after"], probed.activations["conv"])


def test_a_network_whose_path_depends_on_values_is_truly_run() -> None:
    class Choosy(Plain):
        def forward(self, x: Tensor) -> object:
            return super().forward(x if float(x.sum()) > 0 else -x)

    with Network(seeded(Choosy())).opened() as model:
        runs = survey(model, image(2)).runs
    assert cells_of(runs, "first", 2) is not None
    assert choose_layer(runs)[0] == "activation"


@pytest.mark.parametrize("axes", [2, 3])
def test_auto_takes_the_last_spatial_layer_and_says_why(axes: int) -> None:
    with Network(seeded(Plain(axes))).opened() as model:
        name, reason = choose_layer(survey(model, image(axes)).runs)
    assert name == "activation"
    assert " x ".join(["5"] * axes) in reason


def test_auto_prefers_the_outermost_module_that_runs_once() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 1, 3, 1, 1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.relu(self.conv(x)) + x)

    module = nn.Sequential()
    module.add_module("stage", nn.Sequential(Block(), Block()))
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flat", nn.Flatten())
    with Network(module).opened() as model:
        assert choose_layer(survey(model, torch.zeros(1, 1, 8, 8)).runs)[0] == "stage"


def test_auto_passes_over_heads_that_the_output_does_not_use() -> None:
    class TwoHeads(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.side = nn.Conv2d(4, 4, 3)

        def forward(self, x: Tensor) -> object:
            y = self.features(x)
            logits = self.head(y.mean(dim=(2, 3)))
            return {"logits": logits, "side": self.side(y)}

    with Network(seeded(TwoHeads())).opened() as model:
        assert choose_layer(survey(model, image(2)).runs)[0] == "activation"


def test_auto_never_takes_the_output_of_a_segmentation_itself() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with Network(net, kind="segmentation").opened() as model:
        assert choose_layer(survey(model, torch.zeros(1, 1, 8, 8)).runs)[0] == "1"


def test_a_network_without_a_grid_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with Network(net).opened() as model, pytest.raises(LayerError, match="spatial grid"):
        choose_layer(survey(model, torch.zeros(1, 1, 8, 8)).runs)


def test_layers_that_run_twice_are_numbered() -> None:
    with Network(seeded(Twice())).opened() as model:
        names = [r.name for r in survey(model, image(2)).runs]
    assert {"again#0", "again#1", "activation#0", "activation#1", "norm"} <= set(names)


def test_one_cell_that_is_padded_to_several_is_no_grid() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 4, 1), nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3))
    with Network(net).opened() as model:
        runs = model.runs(torch.rand(1, 1, 8, 8))
    assert [r.grid.shape for r in runs if r.grid] == [(4, 4), (1, 1), (3, 3), (1, 1), (1, 1), (1, 1)][: len(runs)]
    assert choose_layer(runs)[0] == "0"
