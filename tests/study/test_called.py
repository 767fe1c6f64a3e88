"""What "top" and "called" explain is what the model calls by its card, over every shipped card and in every face."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope
from saliscope.cli.main import main
from saliscope.core.explanation import Explanation
from saliscope.core.prediction import Prediction
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.model.shipped import shipped
from saliscope.study.question import Question
from saliscope.trust.checks.prediction import prediction_worth_explaining

#: All but those whose weights lie with the real data.
NAMES = sorted(name for name in shipped() if name != "brain-extraction")


class Said(nn.Module):
    """A network whose answer is given; it depends on the image, so that it has a map."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits + 1e-6 * x.mean() * torch.arange(1.0, self.logits.shape[1] + 1)


def decided(network: Network, logits: Tensor) -> str:
    """Return the label that a network calls, worked out another way than the product does."""
    limits = dict(zip(network.labels, network.thresholds, strict=True)) if network.thresholds else {}
    known = {label: t for label, t in limits.items() if t is not None}
    if network.kind == "segmentation":
        shares = torch.bincount(logits.argmax(1).flatten(), minlength=len(network.labels))
        return network.labels[1 + int(shares[1:].argmax())]
    if network.kind == "binary":
        positive = float(torch.sigmoid(logits[0, 0]))
        return network.labels[int(positive >= known.get(network.labels[1], 0.5))]
    shares = dict(zip(network.labels, torch.softmax(logits[0], 0).tolist(), strict=True))
    above = [label for label, t in known.items() if shares[label] >= t]
    assert len(known) <= 1
    free = {label: p for label, p in shares.items() if label not in known} if known else shares
    return above[0] if above else max(free, key=free.__getitem__)


@pytest.mark.parametrize("name", NAMES)
def test_over_every_shipped_card_top_is_the_label_that_the_model_calls(name: str) -> None:
    network = load(name)
    assert len(network.labels) > 1 or network.kind in ("segmentation", "binary")
    generator = torch.Generator().manual_seed(0)
    taken = set()
    for _ in range(100):
        shape = (1, len(network.labels), 4, 4) if network.kind == "segmentation" else (1, len(network.labels))
        shape = (1, 1) if network.kind == "binary" else shape
        logits = 1.5 * torch.randn(shape, generator=generator)
        for word in ("top", "called"):
            question = Question(word, network)
            question.scores(logits)
            assert question.labels[0] == decided(network, logits)
        taken.add(question.labels[0])
        prediction = network.predictions(logits)[0]
        if network.kind != "segmentation":
            check = prediction_worth_explaining(prediction, question.labels[0])
            assert check.outcome in ("supports", "unclear")
            assert "no threshold is known" not in check.sentence or not any(network.thresholds)
    assert len(taken) > 1, "both sides of a threshold were tried"


def explained(
    kind: str, thresholds: tuple[float | None, ...], logits: list[float], target: object
) -> list[Explanation]:
    labels = ("a", "b", "c")[: max(len(logits), 2)]
    network = Network(Said(torch.tensor([logits])), labels, kind, thresholds=thresholds)
    found = saliscope.explain(torch.rand(1, 1, 8, 8), network, "gradient", target)
    return found if isinstance(found, list) else [found]


def test_called_explains_each_called_label_and_top_says_which_it_took() -> None:
    limits = (0.9, 0.1, None)
    both = explained("multi-label", limits, [3.0, -1.0, -2.0], "called")
    assert [e.target for e in both] == ["a", "b"]
    one = explained("multi-label", limits, [3.0, -1.0, -2.0], "top")
    assert [e.target for e in one] == ["a"]
    assert any("calls 2 labels; 'top' took a" in n and n.endswith("too: b.") for n in one[0].provenance.notes)
    none = explained("multi-label", limits, [-1.0, -3.0, -2.0], "top")[0]
    assert any("calls no label; 'top' took b, the nearest" in n for n in none.provenance.notes)
    assert [e.target for e in explained("multi-label", limits, [-1.0, -3.0, -2.0], "called")] == ["b"]
    assert not any("'top'" in n for n in explained("multi-class", (), [1.0, -3.0, 0.0], "top")[0].provenance.notes)
    named = explained("multi-label", limits, [3.0, -1.0, -2.0], "c")[0]
    assert not any("'top'" in n for n in named.provenance.notes)


def test_images_of_one_batch_each_get_what_is_called_for_them() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3)), 0 * x.mean((1, 2, 3)) - 5], 1)

    x = torch.stack([torch.full((1, 6, 6), v) for v in (2.0, -2.0, 0.001)])
    network = Network(Mean(), ("up", "down", "far"), "multi-label", thresholds=(0.5, 0.49, None))
    found = saliscope.explain(x, network, "gradient", "called")
    assert isinstance(found, list)
    assert [e.target for e in found] == ["up", "down", "down", "up"]
    contrast = saliscope.explain(x[:1], network, "gradient", "contrast:called/far")
    assert isinstance(contrast, saliscope.Explanation)
    assert contrast.target == "up against far"


def test_chest_radiographs_in_python_on_the_command_line_and_in_the_record(data: Path, tmp_path: Path) -> None:
    """Of these images nearly every second one got a map of the label that the model does not call."""
    network = load("chest-opacity")
    limit = network.thresholds[1]
    files = sorted((data / "chest-xray-nih" / "boxed-512").glob("*.jpg"))[:24]
    called = []
    for file in files:
        x = network.viewing(saliscope.read_image(file)).tensor
        with torch.no_grad():
            called.append(network.labels[int(torch.sigmoid(network.module(x))[0, 0] >= limit)])
    argmax = [saliscope.explain(f, network, "gradient").prediction.strongest for f in files]
    assert any(network.labels[a] != c for a, c in zip(argmax, called, strict=True)), "the files hold the fault"
    assert [saliscope.explain(f, network, "gradient").target for f in files] == called
    out = tmp_path / "out"
    some = [str(f) for f in files[:4]]
    with pytest.raises(SystemExit) as end:
        main(["explain", *some, "-m", "chest-opacity", "--method", "gradient", "-o", str(out)])
    assert not end.value.code
    records = [json.loads(p.read_text()) for p in sorted(out.rglob("explanation.json"))]
    assert sorted(r["target"] for r in records) == sorted(called[:4])
    for r in records:
        assert r["prediction"]["called"] == [r["target"]]
        assert np.isclose(sum(r["prediction"]["thresholds"]), 1)
        assert "no operating threshold known" not in r["prediction"]["sentence"]


def test_a_label_that_lost_to_one_with_a_threshold_is_not_called() -> None:
    p = Prediction(("normal", "benign", "malignant"), (0, 1, 0), (0.1, 0.65, 0.25), "multi-class", (None, None, 0.2))
    check = prediction_worth_explaining(p, "benign")
    assert check.outcome == "against"
    assert "malignant is at or above its operating threshold" in check.sentence
    assert prediction_worth_explaining(replace(p, thresholds=()), "benign").outcome == "supports"
