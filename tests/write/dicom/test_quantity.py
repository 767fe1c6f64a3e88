"""The codes of CID 217: each method is what the standard calls it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.sr.codedict import codes

from dicom_cases import stamp
from dicom_maps import case
from saliscope.core.protocols import Family
from saliscope.methods import METHODS
from saliscope.write.dicom import quantity
from saliscope.write.dicom.parametric_map import parametric_map
from saliscope.write.dicom.quantity import content_label, explanation_code
from saliscope.write.dicom.stamp import clipped


@pytest.mark.parametrize(
    ("family", "method", "code"),
    [
        ("cam", "grad-cam", "130403"), ("cam", "grad-cam++", "130403"), ("cam", "layercam", "130403"),
        ("cam", "cam", "130402"), ("cam", "score-cam", "130402"), ("cam", "eigen-cam", "130402"),
        ("gradient", "smoothgrad", "130404"), ("path", "integrated-gradients", "130404"),
        ("perturbation", "rise", "130401"), ("propagation", "lrp", "130401"), ("combine", "fused", "130401"),
    ],
)  # fmt: skip
def test_the_quantity_is_the_code_of_the_method(family: Family, method: str, code: str) -> None:
    result, source = case("ct-oblique")
    e = result.explanation
    e = replace(e, traits=replace(e.traits, family=family), provenance=replace(e.provenance, method=method))
    result = replace(result, explanation=e)
    (mapping,) = (
        parametric_map(result, source, stamp(), {})
        .SharedFunctionalGroupsSequence[0]["RealWorldValueMappingSequence"]
        .value
    )
    (item,) = mapping.QuantityDefinitionSequence
    assert item.ConceptNameCodeSequence[0].CodeValue == "246205007"
    assert item.ConceptCodeSequence[0].CodeValue == code == explanation_code(result).value
    assert item.ConceptCodeSequence[0].CodingSchemeDesignator == "DCM"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert mapping.LUTLabel == clipped(method, 16)
    assert "raw, not normalised" in mapping.LUTExplanation
    assert len(content_label(result)) <= 16
    assert content_label(result).startswith("XAI_")


def test_codes_are_those_of_the_standard() -> None:
    cid = codes.CID217
    wanted = (
        (quantity.VISUAL_EXPLANATION, codes.DCM.VisualExplanation),
        (quantity.CLASS_ACTIVATION, cid.ClassActivation),
        (quantity.GRADIENT_WEIGHTED, cid.GradientWeightedClassActivation),
        (quantity.SALIENCY, cid.Saliency),
    )
    for (value, meaning), code in wanted:
        assert (value, meaning) == (code.value, code.meaning)


def test_every_method_that_needs_no_gradient_is_known() -> None:
    cams = {name for name in METHODS.names() if METHODS.get(name).traits.family == "cam"}
    assert set(quantity.WITHOUT_GRADIENT) < cams
