"""Names, fields and plugins."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from saliscope.core import registry
from saliscope.core.errors import MethodError, SaliscopeError
from saliscope.core.registry import Registry
from saliscope.methods import METHODS


def test_unknown_names_and_fields_are_met_with_the_nearest() -> None:
    with pytest.raises(MethodError, match="Did you mean 'grad-cam'"):
        METHODS.make("gradcam")
    with pytest.raises(MethodError, match="Did you mean 'layer'"):
        METHODS.make("grad-cam", layr="x")


def plugged(monkeypatch: pytest.MonkeyPatch, *entries: tuple[str, str]) -> Registry[Any]:
    found = [EntryPoint(n, v, "saliscope.methods") for n, v in entries]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    return Registry("method", METHODS.table, METHODS.group)


def test_a_third_party_comes_in_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = "saliscope.methods.cam.grad_cam:GradCAM"
    assert plugged(monkeypatch, ("theirs", ours)).get("theirs").__name__ == "GradCAM"


def test_one_name_has_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match="one owner"):
        plugged(monkeypatch, ("grad-cam", "theirs:GradCAM")).names()


def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MethodError, match="nowhere:Thing, which does not import"):
        plugged(monkeypatch, ("broken", "nowhere:Thing")).get("broken")


def test_a_message_says_what_was_got_expected_and_what_to_do() -> None:
    assert str(SaliscopeError("a", expected="b", do="C")) == "a; expected b. C"
    assert str(SaliscopeError("a")) == "a."
