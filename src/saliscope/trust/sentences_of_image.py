"""The sentences that speak of one map of one image, by name; `saliscope.trust.wording.say` fills them in.

Fields: `label` the target explained, `change` the model's score without and with a change (as it is shown, a
probability where there is one), `n` how many were compared and `beaten` how many of them had less effect,
`where` and `what` a place in words, such as "the lungs" or "the burnt-in text at the upper right".
"""

from __future__ import annotations

from collections.abc import Mapping

_CHANGE = "({change})"

OF_IMAGE: Mapping[str, str] = {
    # The map itself.
    "integrity.supports": "The map has finite values that differ from place to place.",
    "integrity.zero": "The map is zero everywhere, so it points at nothing.",
    "integrity.constant": "The map has one value everywhere, so it points at nothing.",
    "integrity.not-finite": "The map holds values that are not numbers, so it cannot be drawn.",
    "integrity.other": "The map is not what the method gives for this image and this model.",
    "integrity.no-positive": "Nothing in the map counts for {label}: all of it counts against.",
    "integrity.eval": "The network was not in evaluation mode, so the same image can give another map next time.",
    "integrity.view": "The image was not prepared as the network expects it: {what}.",
    "integrity.layer": "The layer that was watched has no places, so the map cannot say where.",
    # The prediction that it explains.
    "prediction.supports": "The model calls {label} here (probability {p:.2f}; {rule}).",
    "prediction.against": "The model does not call {label} here (probability {p:.2f}; {rule}), so there is no finding "
    "for a map to show.",
    "prediction.unclear": "The model calls {label} so narrowly (probability {p:.2f}; {rule}) that a small change of "
    "the image can change the decision.",
    "prediction.unknown": "No operating threshold is known for {label}, so whether the model calls it is not known.",
    # Hiding what the map highlights.
    "region-test.supports": "Hiding the highlighted area changes the model's score for {label} more than hiding "
    "{beaten} of {n} other areas of the same size and shape in {where}.",
    "region-test.unclear": "Hiding the highlighted area changes the model's score for {label} more than hiding "
    "{beaten} of {n} other areas of the same size and shape in {where}, which chance alone can give.",
    "region-test.against": "The highlighted area is no more important to the model than other areas of the same size "
    "and shape in {where}: hiding it changes the score more than {beaten} of {n} of them.",
    "region-test.weak": "Hiding the highlighted area changes the model's score for {label} more than hiding "
    "{beaten} of {n} other areas of the same size and shape in {where}, but "
    "little beside how the score differs between images.",
    "region-test.coarse": "Most of what the highlighted area does to the score for {label} comes from its fainter "
    "half, so the map does not say where in it the model looked.",
    "region-test.fills": "Whether the highlighted area matters to the model depends on what is put in its place "
    "({fills}).",
    "region-test.no-room": "The highlighted area is so large that there are no other areas of its size in {where} to "
    "compare it with.",
    "islands.supports": "Hiding {areas} changes the model's score for {label}, each by itself.",
    "islands.one": "Hiding the area outlined on the card changes the model's score for {label}.",
    "islands.unclear": "A part of what the map points at may not matter to the model: {areas}.",
    "islands.against": "Most of what the map points at can be hidden without a change of the score for {label}: "
    "{areas}.",
    "islands.scattered": "The map is scattered over places too small to be told apart, so it points at no area.",
    "islands.many": "The map points at more places than the {n} that were hidden one by one.",
    "keep-alone.supports": "With everything but the highlighted area hidden, the model still says {label} "
    f"{_CHANGE}.",
    "keep-alone.unclear": "With everything but the highlighted area hidden, the model keeps only part of its score for "
    f"{{label}} {_CHANGE}.",
    "keep-alone.against": "With everything but the highlighted area hidden, the model no longer says {label} "
    f"{_CHANGE}: it needs more of the image than the map shows.",
    # Small changes, and other ways to ask.
    "test-retest.supports": "The map stays where it is when the image is changed slightly (in {n} ways).",
    "test-retest.unclear": "The map moves when the image is changed slightly (in {n} ways).",
    "test-retest.against": "When the image is changed slightly (in {n} ways), the map moves as much as maps of "
    "different patients differ.",
    "test-retest.decision": "In {changed} of {n} slightly changed copies of the image the model changes its decision.",
    "test-retest.none-left": "The model changes its decision in so many of {n} slightly changed copies of the image "
    "that maps of the same decision cannot be compared.",
    "method-agreement.supports": "{agree} of {n} explanation methods, of {families} kinds, highlight the same area.",
    "method-agreement.unclear": "Only {agree} of {n} explanation methods, of {families} kinds, highlight the same "
    "area.",
    "method-agreement.against": "{apart} of {n} explanation methods, of {families} kinds, point elsewhere than this "
    "map.",
    "class-discrimination.supports": "The map for {label} differs from the maps for the {n} other labels.",
    "class-discrimination.unclear": "The map for {label} is much like the map for {other}.",
    "class-discrimination.against": "The map for {label} is the same as the map for {other}: it does not depend on the "
    "question.",
    "class-discrimination.one-label": "The model has one label only, so there is no other question to compare with.",
    # What the model looks at instead.
    "organ-hidden.supports": f"With {{where}} hidden, the model no longer says {{label}} {_CHANGE}.",
    "organ-hidden.unclear": "Whether the model still says {label} with {where} hidden depends on what is put in its "
    "place ({fills}).",
    "organ-hidden.against": f"With {{where}} hidden, the model still says {{label}} {_CHANGE}, so something outside "
    "drives this result.",
    "organ-alone.supports": f"With everything but {{where}} hidden, the model still says {{label}} {_CHANGE}.",
    "organ-alone.unclear": "Whether the model still says {label} with everything but {where} hidden depends on what is "
    "put in its place ({fills}).",
    "organ-alone.against": "With everything but {where} hidden, the model no longer says {label} "
    f"{_CHANGE}: it uses what lies outside.",
    "organ.unknown": "This image shows no outline of {where} that could be hidden.",
    "hidden.supports": f"Hiding {{what}} does not change what the model says of {{label}} {_CHANGE}.",
    "hidden.score": f"Hiding {{what}} changes the model's score for {{label}} {_CHANGE} more than hiding {{beaten}} of "
    "{n} other areas of the same size and shape, but not its decision.",
    "hidden.decision": f"Hiding {{what}} changes the decision on {{label}} {_CHANGE}.",
    "hidden.fills": "Whether hiding {what} changes the model's score for {label} depends on what is put in its place "
    "({fills}).",
    "hidden.none": "There is nothing to hide: {what} was not found in this image.",
    "highlighted.outside": "The highlighted area lies mostly in {what}, not in the patient.",
    # What the map cannot show, whatever it shows.
    "resolution.mm": "This map cannot show findings smaller than about {mm:.2g} mm.",
    "resolution.elements": "This map cannot show findings smaller than about {elements} of the image, "
    "whose size in millimetres is not known.",
    "resolution.against": "The highlighted area is about {mm:.2g} mm wide, no more than the map can show, so its "
    "shape says nothing.",
    "control": "This is a control map: it is made without the model's answer and explains nothing.",
}
