"""Where in a medical image a network's answer came from, placed on the source grid. Research use only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from saliscope.core.errors import SaliscopeError
    from saliscope.core.explanation import Explanation
    from saliscope.core.explanations import Explanations
    from saliscope.core.geometry import Geometry
    from saliscope.core.image import MedicalImage
    from saliscope.core.placed import PlacedMap
    from saliscope.core.target import AnchoredTarget, PerImage
    from saliscope.methods import METHODS
    from saliscope.metrics import METRICS
    from saliscope.model.load import load
    from saliscope.model.network import Network
    from saliscope.perturb.reference import References
    from saliscope.read import read as read_image
    from saliscope.study.api import explain, inspect
    from saliscope.study.checked import CheckedExplanation, CheckedExplanations
    from saliscope.study.checking import audit, check
    from saliscope.study.export import save_dicom
    from saliscope.trust.audit_card import AuditCard, AuditCards

#: Where each public name lives; loaded on first use, so that importing saliscope loads nothing heavy.
_ADDRESSES = {
    "AnchoredTarget": "saliscope.core.target:AnchoredTarget",
    "AuditCard": "saliscope.trust.audit_card:AuditCard",
    "AuditCards": "saliscope.trust.audit_card:AuditCards",
    "CheckedExplanation": "saliscope.study.checked:CheckedExplanation",
    "CheckedExplanations": "saliscope.study.checked:CheckedExplanations",
    "Explanation": "saliscope.core.explanation:Explanation",
    "Explanations": "saliscope.core.explanations:Explanations",
    "Geometry": "saliscope.core.geometry:Geometry",
    "METHODS": "saliscope.methods:METHODS",
    "METRICS": "saliscope.metrics:METRICS",
    "MedicalImage": "saliscope.core.image:MedicalImage",
    "Network": "saliscope.model.network:Network",
    "PerImage": "saliscope.core.target:PerImage",
    "PlacedMap": "saliscope.core.placed:PlacedMap",
    "References": "saliscope.perturb.reference:References",
    "SaliscopeError": "saliscope.core.errors:SaliscopeError",
    "audit": "saliscope.study.checking:audit",
    "check": "saliscope.study.checking:check",
    "explain": "saliscope.study.api:explain",
    "inspect": "saliscope.study.api:inspect",
    "load": "saliscope.model.load:load",
    "read_image": "saliscope.read:read",
    "save_dicom": "saliscope.study.export:save_dicom",
}

__all__ = [
    "METHODS",
    "METRICS",
    "AnchoredTarget",
    "AuditCard",
    "AuditCards",
    "CheckedExplanation",
    "CheckedExplanations",
    "Explanation",
    "Explanations",
    "Geometry",
    "MedicalImage",
    "Network",
    "PerImage",
    "PlacedMap",
    "References",
    "SaliscopeError",
    "__version__",
    "audit",
    "check",
    "explain",
    "inspect",
    "load",
    "read_image",
    "save_dicom",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Asked of the installed package, once somebody wants it: the one place that says it is pyproject.toml.
        return import_module("importlib.metadata").version("saliscope")
    if name not in _ADDRESSES:
        raise AttributeError(f"module 'saliscope' has no attribute {name!r}")
    module, _, attribute = _ADDRESSES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
