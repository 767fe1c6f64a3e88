"""What `check` and `audit` ask of trust, from a network's own words to its cards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from saliscope import METHODS, load
from saliscope.core.errors import MetricError, SaliscopeError
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Traits
from saliscope.model.network import Network
from saliscope.phantom.catalogue import phantom_set
from saliscope.study import examining
from saliscope.study.examining import examined, on_its_layer, target_of
from saliscope.study.explain import Case, explained
from saliscope.study.present import Showing
from saliscope.trust.audit_card import AuditCard, Cohort, Threshold
from saliscope.trust.checks.held_against import OTHERS_HIGH, OTHERS_MIDDLE, SPREAD

torch.set_num_threads(1)
NAME = "phantom-chest-plain-clean-0"


@cache
def network() -> Network:
    return load(NAME)


@cache
def image() -> MedicalImage:
    return phantom_set("chest", "nodule", "text", contamination=0.5, count=2, seed=15, size=128)[0].render()


def case() -> Case:
    return Case(image(), network().viewing(image()), Showing)


@cache
def explanation(method: str = "grad-cam"):
    (found,) = explained([case()], network(), {method: METHODS.make(method)}, ["present"])
    return found


def audit(**more: object) -> AuditCard:
    thresholds = {n: Threshold(v, "made up", 9) for n, v in ((SPREAD, 2.0), (OTHERS_HIGH, 0.5), (OTHERS_MIDDLE, 0.3))}
    return AuditCard.made(explanation(), Cohort("made up", 9), (), thresholds=thresholds, **more)


def test_a_target_is_the_networks_score_of_a_word() -> None:
    x = case().view.tensor
    with network().opened() as model:
        target = target_of("present", network(), lambda: model(x))
        score = float(target.scores(model(x))[0, 0])
    assert target.labels == ("present",)
    prediction = explanation().prediction
    assert score == pytest.approx(prediction.logits[prediction.labels.index("present")], rel=1e-5)


def test_a_word_with_several_scores_is_refused() -> None:
    with network().opened() as model, pytest.raises(MetricError, match="scores"):
        target_of(
            "all", replace(network(), kind="multi-label", labels=("a", "b")), lambda: _two(model(case().view.tensor))
        )


def _two(output: torch.Tensor) -> torch.Tensor:
    return output.expand(-1, 2) if output.shape[1] == 1 else output


def test_a_method_is_settled_on_the_layer_that_explain_takes() -> None:
    view = case().view
    with network().opened() as model:
        target = target_of("present", network(), lambda: model(view.tensor), hold=False)
    settled = on_its_layer("grad-cam", METHODS.make("grad-cam"), network(), view, target)
    assert settled.layer == explanation().provenance.layer != "auto"
    plain = METHODS.make("gradient")
    assert on_its_layer("gradient", plain, network(), view, target) in (plain, settled) or plain.traits.grid == "input"


def test_a_card_counts_what_it_cost_and_an_audit_of_another_model_is_none() -> None:
    said: list[str] = []
    before = explanation().values.copy()
    card = examined(explanation(), case(), network(), METHODS.make("grad-cam"), audit(), "quick", said.append)
    assert card.audit
    told = card.described()
    ran = [int(word.split()[0].replace(",", "")) for word in said]
    assert ran == sorted(ran)
    assert told["forward_samples"] == ran[-1]
    assert (explanation().values == before).all()
    assert card.state in ("read-with-care", "doubtful")

    foreign = replace(audit(), weights="f" * 64)
    other = examined(explanation(), case(), network(), METHODS.make("grad-cam"), foreign, "quick", said.append)
    without = examined(explanation(), case(), network(), METHODS.make("grad-cam"), None, "quick", said.append)
    assert other.state == without.state == "not-assessed"
    assert not other.audit
    assert "method" in {r.check for r in card.results}
    assert "method" not in {r.check for r in other.results}, "what it says of another model is not told of this one"
    assert other.unaudited != without.unaudited, "one says that it does not fit, the other that there is none"


def test_a_control_is_not_to_be_read_whatever_the_audit() -> None:
    e = explanation("edges")
    fitting = AuditCard.made(e, Cohort("made up", 9), (), thresholds=audit().thresholds)
    card = examined(e, case(), network(), METHODS.make("edges"), fitting, "quick", lambda _: None)
    assert card.state == "do-not-read"


def test_methods_that_run_are_of_other_kinds_and_those_that_do_not_fit_are_left_out() -> None:
    with network().opened() as model:
        x = case().view.tensor
        target = target_of("present", network(), lambda: model(x), hold=False)
    names = ("grad-cam", "eigen-cam", "gradient", "random")
    own = on_its_layer("grad-cam", METHODS.make("grad-cam"), network(), case().view, target)
    found = examining._that_run(names, network(), case(), target, own)
    assert list(found) == ["gradient", "random"]
    assert list(examining._that_run(names, network(), case(), target, None)) == list(names)


@dataclass(frozen=True)
class Refusing:
    """A method that fits no network."""

    traits: ClassVar[Traits] = METHODS.make("gradient").traits

    def attribute(self, model: object, x: object, target: object) -> object:
        raise SaliscopeError("it does not fit")


def test_a_method_that_does_not_fit_is_no_fault_of_the_one_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    make = METHODS.make
    monkeypatch.setattr(
        examining, "METHODS", type("Some", (), {"make": staticmethod(lambda n: Refusing() if n == "bad" else make(n))})
    )
    with network().opened() as model:
        x = case().view.tensor
        target = target_of("present", network(), lambda: model(x), hold=False)
    assert list(examining._that_run(("bad", "random"), network(), case(), target, None)) == ["random"]


def test_a_mask_may_come_as_any_image_of_its_size(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from PIL import Image

    drawn = np.zeros((128, 128), np.uint8)
    drawn[10:20, 30:50] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(drawn).save(path)
    truth = examining._truth(SimpleNamespace(mask=path), image())  # type: ignore[arg-type]
    assert truth is not None
    assert truth.geometry == image().geometry, "in the image's own millimetres"
    assert (truth.mask == (drawn > 0)).all()
    assert examining._truth(SimpleNamespace(mask=None), image()) is None  # type: ignore[arg-type]
