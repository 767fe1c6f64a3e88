"""What the network said, and what its map says of that, as parts of a structured report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from saliscope.core.prediction import Prediction
from saliscope.write.dicom.quantity import explanation_code
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.sr_codes import code, container, measured, number, printable, text
from saliscope.write.dicom.stamp import MANUFACTURER, derivation, version_of

if TYPE_CHECKING:
    from highdicom.sr import AlgorithmIdentification

#: So many answers of a network are listed at most: the explained one, then the strongest.
MOST = 20
NO_CARD = "no card: this map was not checked"
RESEARCH = "Research use, not for diagnosis."
_CALIBRATION = (
    "Not known: a network's number is its score, and is no rate of disease among patients in whom it says it."
)
#: A place that is read along the wrong axes is on the wrong side of the patient.
_AXES = (
    "Centres in mm count towards the patient's right, front and head (RAS), whereas DICOM counts towards left, back "
    "and head (LPS): the signs of the first two are the other way round on a workstation."
)
_ON_SCALE = "The network's own scale, on which its operating threshold is 0.50, is not calibrated either."


def summary(result: Result) -> Any:
    """Return what is to be read first: whether to rely on the map, what the network said, what the map says of that.

    Of a map that its card hides nothing is said but why.
    """
    e, card = result.explanation, result.card
    items = [text("state", NO_CARD)] if card is None else _of_card(card)
    items.append(text("predicted", e.prediction.sentence(e.target)))
    said = [] if result.hidden else list(result.reading["sentences"])
    items += [text("map", sentence) for sentence in said]
    if said and any(region["centre_mm"] is not None for region in result.reading["regions"]):
        items.append(text("axes", _AXES))
    cautions = (*(card or {}).get("always", ()), e.provenance.warning, *e.provenance.notes)
    items += [text("caution", sentence) for sentence in dict.fromkeys(cautions) if sentence and sentence not in said]
    return container("summary", [*items, text("use", RESEARCH)])


def evaluations(result: Result) -> Any:
    """Return what is explained and how: which kind of map, by which algorithm with which parameters."""
    from highdicom.sr import CodeContentItem

    e = result.explanation
    kind = CodeContentItem(code("visual-explanation"), explanation_code(result), "CONTAINS")
    items = [*explainer(result), kind, text("answer", e.target), text("method", derivation(result))]
    items += [text("calibration", sentence) for sentence in _calibration(e.prediction)]
    more = len(e.prediction.labels) - len(listed(e.prediction, e.target))
    items += [text("not-listed", f"{more} weaker answers of the network")] if more else []
    return container("qualitative", items)


def answers(result: Result) -> Any:
    """Return the listed answers of the network as numbers with their sentences, the explained one first.

    A target that is no label is explained by its sentence in the summary: it has no number of its own.
    """
    prediction = result.explanation.prediction
    items: list[Any] = list(network(result))
    for i in listed(prediction, result.explanation.target):
        name, value, unit = _number(prediction, i)
        sentence = prediction.sentence(prediction.labels[i])
        if math.isfinite(value):
            told = [text("predicted", sentence, "HAS PROPERTIES"), *_limits(prediction, i)]
            items += measured(name, value, unit, properties=told)
        else:
            items.append(text("predicted", sentence))
    return container("answers", items)


def listed(prediction: Prediction, target: str) -> list[int]:
    """Return the indices of the answers that are listed: the explained one, then by strength, `MOST` at most."""
    ranked = prediction.probabilities or prediction.logits
    order = sorted(range(len(prediction.labels)), key=lambda i: (prediction.labels[i] != target, -ranked[i]))
    return order[:MOST]


def network(result: Result) -> AlgorithmIdentification:
    """Return the network as an algorithm (TID 4019); its version is the digest of its weights."""
    from highdicom.sr import AlgorithmIdentification

    p = result.explanation.provenance
    return AlgorithmIdentification(printable(p.model), f"weights SHA-256 {p.weights}", [f"view SHA-256 {p.view}"])


def explainer(result: Result) -> AlgorithmIdentification:
    """Return saliscope with the method and its parameters as an algorithm (TID 4019)."""
    from highdicom.sr import AlgorithmIdentification

    p = result.explanation.provenance
    said = [f"method = {p.method}", f"target = {p.target}"] + ([f"layer = {p.layer}"] if p.layer else [])
    said += [f"{name} = {value}" for name, value in sorted(p.fields.items())]
    return AlgorithmIdentification(
        MANUFACTURER, version_of(result), [printable(s) for s in said], manufacturer=MANUFACTURER
    )


def _number(prediction: Prediction, i: int) -> tuple[str, float, str]:
    if prediction.probabilities is None:
        return "value", prediction.logits[i], "one"
    if prediction.kind == "segmentation":
        return "predicted-share", 100 * prediction.probabilities[i], "percent"
    return "probability", prediction.probabilities[i], "one"


def _limits(prediction: Prediction, i: int) -> list[Any]:
    """Return what a probability is to be read against: its operating threshold, and the network's own scale."""
    if prediction.probabilities is None or prediction.kind == "segmentation":
        return []
    limit = prediction.limits[i]
    own = prediction.rescaled[i] if prediction.rescaled else None
    said = [(name, value) for name, value in (("threshold", limit), ("own-scale", own)) if value is not None]
    return [number(name, value, "one", "HAS PROPERTIES") for name, value in said if math.isfinite(value)]


def _calibration(prediction: Prediction) -> list[str]:
    if prediction.probabilities is None or prediction.kind == "segmentation":
        return []
    return [_CALIBRATION, *([_ON_SCALE] if any(r is not None for r in prediction.rescaled) else [])]


def _of_card(card: Mapping[str, Any]) -> list[Any]:
    """Return the state of a card, what it means, and its reasons in their order."""
    items = [text("state", str(card["state_name"]))]
    items += [text("headline", card["headline"])] if card.get("headline") else []
    items += [text("reason", reason) for reason in card.get("reasons", ())]
    coverage, reliability = card.get("coverage"), card.get("reliability")
    if coverage:
        items.append(text("coverage", f"{coverage['run']} of {coverage['applicable']} that apply"))
    return items + ([text("reliability", reliability["sentence"])] if reliability else [])
