"""Make frozen_metrics_localisation.npz anew with quantus 0.6.0, scikit-learn and OpenCV: run with .venv-bench.

Kept are the values where the peers are right, under "right/", and what quantus does where it is not, under "fault/".
Quantus wants (N, 1, *S) and takes images only, so volumes are compared with the other two.
"""

import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
from frozen_metrics_parts import COUNT, KINDS, maps, masks
from sklearn.metrics import average_precision_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import peers  # noqa: F401  so that torchvision can be imported

warnings.simplefilter("ignore")
import quantus  # noqa: E402
from quantus.helpers import utils  # noqa: E402

QUIET = {"disable_warnings": True, "display_progressbar": False}


def asked(metric, attributions, regions):
    """Return what a metric of quantus says, of maps and masks (N, *S)."""
    x = np.zeros_like(attributions)[:, None]
    return metric(
        model=None, x_batch=x, y_batch=np.zeros(len(x), int), a_batch=attributions[:, None], s_batch=regions[:, None]
    )


def right():
    """Return the values in which the peers are right."""
    found = {}
    for kind in KINDS:
        for axes in (2, 3):
            region = masks(axes)
            positive = np.maximum(maps(axes, kind), 0)
            flat = [(m.ravel(), a.ravel()) for m, a in zip(region, positive, strict=True)]
            found[f"right/{axes}/{kind}/auprc"] = [average_precision_score(*pair) for pair in flat]
            found[f"right/{axes}/{kind}/auroc"] = [roc_auc_score(*pair) for pair in flat]
        found[f"right/2/{kind}/iou"] = [otsu(a, m) for a, m in zip(np.maximum(maps(2, kind), 0), masks(2), strict=True)]
        plain = {"abs": False, "normalise": False, **QUIET}
        one, region = maps(2, kind), masks(2)
        positive = np.maximum(one, 0)
        found[f"right/2/{kind}/pointing-game"] = asked(quantus.PointingGame(**plain), positive, region)
        found[f"right/2/{kind}/relevance-mass"] = asked(quantus.RelevanceMassAccuracy(**plain), positive, region)
        whole = {"abs": True, "normalise": False, **QUIET}
        found[f"right/2/{kind}/gini"] = asked(quantus.Sparseness(**whole), one.copy(), region)
        found[f"right/2/{kind}/entropy"] = asked(quantus.Complexity(**whole), one.copy(), region)
        if kind == "positive":  # with ties quantus takes those that come first
            found[f"right/2/{kind}/relevance-rank"] = asked(quantus.RelevanceRankAccuracy(**plain), positive, region)
    return found


def otsu(attribution, region):
    """Return the overlap as saporta2022's code cuts a map: 256 steps and OpenCV's threshold."""
    stretched = attribution - attribution.min()
    steps = np.uint8(255 * (stretched / stretched.max()))
    chosen = cv2.threshold(steps, 0, int(steps.max()), cv2.THRESH_OTSU)[1] > 0
    return (chosen & region).sum() / (chosen | region).sum()


def faults():
    """Return what quantus does where it is wrong."""
    plain = {"abs": False, "normalise": False, **QUIET}
    one, region = maps(2, "positive"), masks(2)
    empty = region.copy()
    empty[1:] = False
    found = {"fault/pointing game of empty masks": asked(quantus.PointingGame(**plain), one, empty)}
    try:
        asked(quantus.PointingGame(weighted=True, **plain), one, region)
    except TypeError as error:
        found["fault/weighted pointing game"] = str(error)
    nothing = one.copy()
    nothing[0] = 0
    found["fault/pointing game of a zero map"] = asked(quantus.PointingGame(**plain), nothing, region)
    found["fault/relevance mass of a zero map"] = asked(quantus.RelevanceMassAccuracy(**plain), nothing, region)
    found["fault/relevance rank of a zero map"] = asked(quantus.RelevanceRankAccuracy(**plain), nothing, region)
    found["fault/auc of a zero map"] = asked(quantus.AUC(**plain), nothing, region)
    weighted = {"weighted": True, "positive_attributions": True, **plain}
    twice = [np.concatenate([a, a]) for a in (one, region)]
    found["fault/weighted localisation"] = asked(quantus.AttributionLocalisation(**weighted), one, region)
    found["fault/weighted localisation of the batch twice"] = asked(
        quantus.AttributionLocalisation(**weighted), *twice
    )[:COUNT]
    found["fault/relevance mass of signed maps"] = asked(
        quantus.RelevanceMassAccuracy(**plain), maps(2, "signed"), region
    )
    own = maps(2, "positive")[:, None].reshape(COUNT, -1)
    before = own.copy()
    quantus.Sparseness(**plain).evaluate_batch(x_batch=own, a_batch=own)
    found["fault/sparseness changes its input by"] = float(abs(own - before).max())
    try:
        utils.calculate_auc(np.array([1.0, 0.5, 0.0]))
    except AttributeError as error:
        found["fault/area under a curve"] = str(error)
    return found


def main() -> None:
    """Write the file beside this one."""
    frozen = {key: np.array(value) for key, value in {**right(), **faults()}.items()}
    np.savez_compressed(Path(__file__).with_name("frozen_metrics_localisation.npz"), **frozen)


if __name__ == "__main__":
    main()
