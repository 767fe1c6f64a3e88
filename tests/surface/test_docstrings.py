"""The examples in the docstrings of the public names run, and what is for everybody has one."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import saliscope

#: What a user calls first: each shows how.
SHOWN = [
    "explain", "inspect", "check", "audit", "METHODS", "PlacedMap", "CheckedExplanation",
    "Explanation", "Explanation.load", "Explanation.on", "Explanation.overlay", "Explanation.save",
    "Explanation.to_tensor", "Explanations", "Explanations.load", "Explanations.save",
]  # fmt: skip


def things() -> dict[str, Any]:
    """Return the public names and their own public methods, by dotted name."""
    found = {}
    for name in saliscope.__all__:
        thing = getattr(saliscope, name)
        thing = type(thing) if name in ("METHODS", "METRICS") else thing
        found[name] = thing
        for own, member in vars(thing).items() if inspect.isclass(thing) else ():
            if not own.startswith("_") and callable(getattr(thing, own)):
                found[f"{name}.{own}"] = inspect.unwrap(getattr(member, "__func__", member))
    return found


def examples(thing: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")


@pytest.mark.parametrize("name", [name for name, thing in things().items() if examples(thing)])
def test_the_example_of_a_public_name_runs(name: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 2),
    )  # fmt: skip
    x = torch.rand(1, 1, 64, 64)
    space = {"saliscope": saliscope, "np": np, "torch": torch, "net": net, "x": x, "folder": tmp_path}
    space["both"] = saliscope.explain(x, net, ["grad-cam", "gradient"], target=1)
    space["e"] = space["both"][0]
    test = doctest.DocTest(examples(things()[name]), space, name, None, None, None)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_called_first_shows_how(name: str) -> None:
    assert examples(things()[name])
