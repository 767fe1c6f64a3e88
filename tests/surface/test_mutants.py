"""The tables of mutants are kept current: each can be applied, and each method has one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from saliscope.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]


def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_mutants", ROOT / "tests" / "mutants" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


MUTANTS = runner().tabled()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.part}: {m.why}")
def test_a_mutant_can_be_applied(mutant) -> None:
    assert not mutant.fault()
    assert mutant.why


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_a_mutant(name: str) -> None:
    file = METHODS.get(name).__module__.replace(".", "/") + ".py"
    assert any(m.file == f"src/{file}" for m in MUTANTS), f"no mutant in tests/mutants/*.toml breaks src/{file}"
