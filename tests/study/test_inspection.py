"""The first look at a network: at most three runs, and nothing of what it shows is silent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import saliscope
from saliscope.core.errors import MethodError, ModelError, OutputError
from saliscope.model.network import Network

NO, YES = "no", "yes"


class Counted(nn.Module):
    """A plain network whose runs are counted outside of it."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        RUNS.append(len(x))
        return self.head(self.conv(x).relu().mean((2, 3)))


RUNS: list[int] = []


def image(n: int = 1, channels: int = 1) -> Tensor:
    return torch.randn((n, channels, 16, 16), generator=torch.Generator().manual_seed(1))


def test_a_look_takes_three_runs_and_says_what_it_saw() -> None:
    RUNS.clear()
    report = saliscope.inspect(Counted(), image())
    assert RUNS == [1, 1, 6]
    assert report.runs == 3
    answers = {
        what: report[what] for what in ("finite", "repeats its output", "differentiable", "images apart in a batch")
    }
    assert set(answers.values()) == {YES}
    assert report.auto == "conv"
    assert [(c.name, c.grid, c.step) for c in report.layers] == [("conv", (8, 8), (2.0, 2.0))]
    text = str(report)
    for word in ("3 forward runs", "conv (auto)", "8 x 8", "CAM methods watch conv", "leaves itself unchanged"):
        assert word in text
    assert "<table>" in report._repr_html_()


def test_a_heavy_network_is_run_once_and_what_was_not_checked_is_said() -> None:
    RUNS.clear()
    report = saliscope.inspect(Counted(), image(), heavy_gflop=1e-9)
    assert RUNS == [1]
    assert report.runs == 1
    assert [what for what, answer, _ in report.facts if answer == "not checked"] == [
        "repeats its output",
        "differentiable",
        "images apart in a batch",
    ]


def test_explain_looks_once_for_a_network_and_a_shape() -> None:
    net, x = Counted(), image()
    saliscope.explain(x, net, "grad-cam", 1)
    RUNS.clear()
    saliscope.explain(x, net, "grad-cam", 1)
    assert RUNS == [1]
    with torch.no_grad():
        net.head.weight.mul_(2)
    RUNS.clear()
    saliscope.explain(x, net, "grad-cam", 1)
    assert RUNS == [1, 1]  # of other weights nothing is known


def test_what_a_network_keeps_is_named() -> None:
    class Keeps(Counted):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros(1))
            self.cache: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            self.cache = x
            return super().forward(x)

    net = Keeps()
    report = saliscope.inspect(net, image())
    assert report["leaves itself unchanged"] == NO
    assert "cache" in str(report)
    assert "steps" in str(report)
    assert net.cache is None
    assert float(net.steps) == 0
    e = saliscope.explain(image(), net, "gradient", 1)
    assert any("changed cache, steps" in note for note in e.provenance.notes)


def test_one_logit_is_asked_for() -> None:
    report = saliscope.inspect(Counted(1), image())
    assert report["kind"] == "asked for"
    with pytest.raises(OutputError, match="kind='binary'"):
        saliscope.explain(image(), Counted(1), "grad-cam")
    e = saliscope.explain(image(), Counted(1), "grad-cam", kind="binary")
    assert e.prediction.probabilities is not None
    assert max(e.prediction.probabilities) < 1


@pytest.mark.parametrize(("end", "word"), [(nn.Softmax(1), "probabilities"), (nn.LogSoftmax(1), "log-probabilities")])
def test_an_end_that_is_no_logit_is_told(end: nn.Module, word: str) -> None:
    net = nn.Sequential(Counted(), end)
    assert f"look like {word}" in str(saliscope.inspect(net, image()))
    e = saliscope.explain(image(), net, "gradient", 1)
    assert any(f"looks like {word}," in note for note in e.provenance.notes)


def test_a_network_that_is_not_finite_is_refused() -> None:
    net = Counted()
    net.conv.weight.data[0] = float("nan")
    assert saliscope.inspect(net, image())["finite"] == NO
    for method in ("grad-cam", "gradient", "occlusion"):
        with pytest.raises((OutputError, MethodError), match="not finite"):
            saliscope.explain(image(), net, method, 1)


class Steps(nn.Module):
    """A network whose values pass through whole numbers, as those of an int8 one do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Counted()

    def forward(self, x: Tensor) -> Tensor:
        whole = (x * 16).round().to(torch.int8)
        return self.net(whole.float() / 16 + 0 * x)


def test_a_gradient_that_is_zero_by_whole_numbers_is_refused() -> None:
    report = saliscope.inspect(Steps(), image())
    assert report["differentiable"] == NO
    assert "int8" in str(report)
    with pytest.raises(MethodError, match="int8"):
        saliscope.explain(image(), Steps(), "gradient", 1)
    assert saliscope.explain(image(), Steps(), "occlusion", 1).values.any()


def test_a_network_that_does_not_repeat_itself_is_told() -> None:
    class Noisy(Counted):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(len(x), 3)

    report = saliscope.inspect(Noisy(), image())
    assert report["repeats its output"] == NO
    net = Noisy()
    for _ in range(2):  # what was learnt is kept
        e = saliscope.explain(image(), net, "gradient", 1)
        assert any("the same output twice" in note for note in e.provenance.notes)


def test_a_network_that_does_not_run_is_told_in_a_sentence() -> None:
    with pytest.raises(ModelError, match=r"expected 1 channels in place of 3"):
        saliscope.inspect(Counted(), image(channels=3))


def test_the_command_line_looks_too(tmp_path: Path) -> None:
    from PIL import Image

    from saliscope.cli.main import app

    picture = tmp_path / "spot.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(picture)
    told = CliRunner().invoke(app, ["model", "check", "spot-finder", "--image", str(picture)])
    assert told.exit_code == 0, told.output
    assert "It loads and runs." in told.output
    assert "CAM methods watch" in told.output
    as_json = CliRunner().invoke(app, ["model", "check", "spot-finder", "--image", str(picture), "--json"])
    assert json.loads(as_json.output)["inspection"]["runs"] == 3


def test_a_digest_is_computed_once_and_again_when_a_bit_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.model import known

    made: list[int] = []
    own = known._sha256
    monkeypatch.setattr(known, "_sha256", lambda module: made.append(1) or own(module))
    network = Network(Counted())
    first = network.weights_digest()
    assert network.weights_digest() == first
    assert made == [1]
    network.module.head.bias.data[1] += 1e-3  # not seen by torch's count of writes
    assert network.weights_digest() != first
