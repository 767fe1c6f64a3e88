"""Fields with which slow methods are tried by the contract suite; the defaults are for real images."""

from typing import Any

from saliscope.methods.cam.grad_cam import GradCAM
from saliscope.methods.perturbation.occlusion import Occlusion

#: name -> fields
QUICK: dict[str, dict[str, Any]] = {
    "smoothgrad-squared": {"samples": 3},
    "vargrad": {"samples": 3},
    "expected-gradients": {"references": "mean", "samples": 4},
    "guided-ig": {"steps": 5, "max_dist": 0.1},
    "blur-ig": {"steps": 4},
    "idgi": {"steps": 4},
    "rise": {"samples": 300, "cells": 3},
    "lime": {"samples": 60, "segments": 12},
    "kernel-shap": {"samples": 60, "segments": 12},
    "sobol": {"designs": 4, "cells": 3},
    "hsic": {"samples": 40, "cells": 3},
    "xrai": {"method": "input-x-gradient", "segments": (4, 12)},
    "meaningful-perturbation": {"steps": 3, "cells": 3},
    "extremal-perturbation": {"steps": 3, "cells": 3, "areas": (0.2,)},
    "smoothed": {"samples": 3},
    "fused": {"layers": ("stem", "watched")},
    "consensus": {"methods": (GradCAM("watched"), Occlusion(window=4, stride=2), "input-x-gradient")},
    "tiled": {"tile": 8, "overlap": 0.5},
}

#: Methods that refuse networks like SmallNet, and where they keep the contract instead: test_cam_contract.py.
REFUSING = ("cam",)
