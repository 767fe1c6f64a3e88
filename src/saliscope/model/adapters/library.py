"""Libraries that may be missing: imported when a card asks for them, with one clear line where they do not come."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from saliscope.core.errors import CardError, did_you_mean


def imported(module: str, extra: str, what: str) -> Any:
    """Return a module; raises CardError where it is missing or breaks, which names the extra that brings it."""
    try:
        return import_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        # Compiled parts that were built for another torch fail with RuntimeError or OSError.
        library = module.partition(".")[0]
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CardError(
            f"{what} needs {library}, which does not import ({first})",
            do=f"Install a build that belongs to your torch: pip install 'saliscope[{extra}]'",
        ) from error


def without_download(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Refuse `pretrained...` and `weights...`: they would fetch a file and unpickle it."""
    wanted = [k for k, v in arguments.items() if k.startswith(("pretrained", "weights", "checkpoint_path")) and v]
    if wanted:
        raise CardError(
            f"architecture {architecture!r} with {wanted[0]} = {arguments[wanted[0]]!r}, which fetches weights",
            expected="weights named by the card",
            do=f"Drop {wanted[0]!r} and give weights = ... with their digest",
        )


def parameters_of(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return what a maker takes; nothing where it does not say, as some compiled classes do."""
    try:
        return inspect.signature(maker).parameters
    except ValueError:
        return {}


def named_in(known: Mapping[str, Any], name: str, architecture: str) -> Any:
    """Return what bears a name; raises CardError with the nearest names."""
    if name not in known:
        raise CardError(f"architecture {architecture!r}", expected="one that is there", do=did_you_mean(name, known))
    return known[name]
