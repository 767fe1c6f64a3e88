"""CAM keeps the contract on networks that end as it needs, and other fields of CAM methods keep it on every network."""

import pytest
import torch
from torch.nn.functional import leaky_relu

from saliscope.methods import METHODS
from saliscope.testing import CHECKS, contract
from saliscope.testing.networks import SmallNet, seeded


class PooledNet(SmallNet):
    """SmallNet with global average pooling and a linear layer right after "watched"."""

    def __init__(self, axes, after="inplace", *, channels=2, classes=3):
        super().__init__(axes, after, channels=channels, classes=classes)
        self.last = torch.nn.Identity()
        self.head = torch.nn.Linear(4 if after == "residual" else 5, classes)
        seeded(self)
        self.double().train()

    def forward(self, x):
        before = torch.relu(self.norm(self.stem(x)))
        seen = self.watched(before)
        self.begin()
        pooled = seen.flatten(2).mean(2)
        if self.after == "residual":
            pooled = pooled + leaky_relu(before, 0.2).flatten(2).mean(2)
        return self.head(self.dropout(pooled))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_cam_keeps_the_contract(check, monkeypatch):
    monkeypatch.setattr(contract, "SmallNet", PooledNet)
    check(METHODS.make("cam"))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("xgrad-cam", {"relu": True}),
        ("eigen-cam", {"centred": True}),
        ("eigen-grad-cam", {"centred": False}),
        ("seg-grad-cam", {"relu": True}),
        ("seg-hirescam", {"relu": True}),
        ("seg-xres-cam", {"window": 3, "pool": "max"}),
        ("seg-xres-cam", {"window": 99, "relu": True}),
        ("smooth-grad-cam++", {"samples": 3, "sigma": 0.0, "memory_mb": 1e-6}),
        ("smooth-grad-cam++", {"samples": 3, "relu": True, "seed": 4}),
        ("layercam-fusion", {"layers": ("stem", "watched"), "gamma": 1.0}),
        ("full-grad", {"terms": "absolute"}),
        ("full-grad", {"terms": "rescaled"}),
    ],
    ids=str,
)
def test_cams_keep_the_contract_with_other_fields(name, fields):
    for check in CHECKS:
        check(METHODS.make(name, **fields))
