"""torchvision beside a CPU build of torch. Import this before it.

Its compiled operators do not load with the CPU build from PyPI; declaring two of them lets it be imported. Only its
networks are used here. The declaration must outlive the import, so it is kept.
"""

from __future__ import annotations

from contextlib import suppress

import torch

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms"):
    with suppress(RuntimeError):  # declared already, by the build of torchvision that belongs to this torch
        _LIBRARY.define(_operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
