"""The sentences that speak of a model with a method, of what was not looked at, and of how reliable a state is.

Fields: `n` how many images, `value` and `null` a metric and what a map that knows nothing scores, `metric` its name,
`low` and `high` the ends of a 95 % interval, `what` a place or a thing in words.
"""

from __future__ import annotations

from collections.abc import Mapping

_SCORE = "({metric} {value:.3g}, knowing nothing {null:.3g}, n = {n})"

#: `moved` is in standard deviations of the score over the images, `k` how many decisions of `n` changed.
_MOVED = (
    "moved the score for {label} by {moved:.1f} of its standard deviation over images, and changed the decision in {k} "
    "of {n}"
)

OF_MODEL: Mapping[str, str] = {
    # Does the map depend on the model?
    "randomisation.supports": "Maps by this method change when the model is replaced by an untrained one (n = {n}).",
    "randomisation.unclear": "Maps by this method change only in part when the model is replaced by an untrained one "
    "(n = {n}).",
    "randomisation.against": "Maps by this method barely change when the model is replaced by an untrained one "
    "(n = {n}).",
    "randomisation.barred": "This map barely changes when the model is replaced by an untrained one, so the method is "
    "barred for this model.",
    "discrimination.supports": "Maps for different labels of one image differ more than two maps of one label "
    "(n = {n}).",
    "discrimination.unclear": "Maps for some labels of one image are much alike (n = {n}).",
    "discrimination.against": "Maps for different labels of one image are the same, so they do not depend on the "
    "question (n = {n}).",
    # Consistency.
    "agreement-methods.supports": "Methods of different kinds highlight the same places more than maps of different "
    f"patients do {_SCORE}.",
    "agreement-methods.unclear": f"Methods of different kinds agree only a little {_SCORE}.",
    "agreement-methods.against": "Methods of different kinds agree no more than maps of different patients do "
    f"{_SCORE}.",
    "agreement-seeds.supports": "Models of the same kind trained again give maps of the same places more than maps of "
    f"different patients do {_SCORE}.",
    "agreement-seeds.unclear": f"Models of the same kind trained again give maps that agree only a little {_SCORE}.",
    "agreement-seeds.against": "Models of the same kind trained again give maps that agree no more than maps of "
    f"different patients do {_SCORE}.",
    "retest.supports": f"Maps stay where they are when images are changed slightly {_SCORE}.",
    "retest.unclear": f"Maps move when images are changed slightly {_SCORE}.",
    "retest.against": "Maps move as much when images are changed slightly as maps of different patients differ "
    f"{_SCORE}.",
    # Fidelity and plausibility.
    "fidelity.supports": "Hiding what the map ranks highest changes the score more than hiding places at random "
    f"{_SCORE}.",
    "fidelity.unclear": "Whether hiding what the map ranks highest changes the score more than hiding places at random "
    f"cannot be told {_SCORE}.",
    "fidelity.against": "Hiding what the map ranks highest changes the score no more than hiding places at random "
    f"{_SCORE}.",
    "localisation.supports": f"The map lies on the regions that were drawn more than any of the control maps {_SCORE}.",
    "localisation.unclear": f"Whether the map lies on the regions more than the control maps cannot be told {_SCORE}.",
    "localisation.against": "The map lies on the regions that were drawn no more than {control}, which knows nothing "
    f"of the model {_SCORE}.",
    "localisation.no-masks": "No regions were drawn for these images, so where maps should lie is not known.",
    # Shortcuts.
    "insertion.supports": f"Putting {{what}} into images {_MOVED}.",
    "insertion.unclear": f"Putting {{what}} into images {_MOVED}, which does not count: it may look like a finding, or "
    "like nothing that the model was ever shown.",
    "insertion.against": f"Putting {{what}} into images {_MOVED}: the model answers to it.",
    "marks.against": "Hiding {what} changed the decision on {label} in {k} of {n} images that have it.",
    "marks.supports": "Hiding {what} changed the decision on {label} in {k} of {n} images that have it, no more than "
    "hiding other areas did.",
    "metadata.supports": "Among images of one label, the model's score does not tell {column} apart (AUC {value:.2f}, "
    "95 % interval {low:.2f} to {high:.2f}, n = {n}).",
    "metadata.against": "Among images of one label, the model's score tells {column} apart (AUC {value:.2f}, 95 % "
    "interval {low:.2f} to {high:.2f}, n = {n}), so it may use what comes with it.",
    "subgroup.supports": "No difference was found between groups by {column} ({metric}, n = {n}).",
    "subgroup.against": "Groups by {column} differ in {metric} by {value:.3g} (95 % interval {low:.3g} to {high:.3g}, "
    "n = {n}).",
    "audit.small": "The model card of explanations was made of {images} images only, too few to find a shortcut.",
    # The model card of explanations.
    "audit.none": "There is no model card of explanations for this model and method, without which no map can be "
    "found readable.",
    "audit.mismatch": "The model card of explanations was made for {what}, so it says nothing of this map.",
    "audit.barred": "The model card of explanations bars this method for this model: {reason}.",
    "audit.no-shortcut": "The model card of explanations found no answer of this model to any of {n} things "
    "planted or tabled.",
    "audit.shortcut": "The model card of explanations found that this model answers to {what}.",
    # What was not looked at.
    "not-run": "This check was not run: {why}.",
    "not-run.tier": "This check belongs to the full tier and was not run.",
    "not-run.stopped": "This check was not run, because an earlier one already decides.",
    "not-applicable": "This check does not apply here: {why}.",
    "heading.none": "Nothing was assessed under this heading.",
    "usefulness.none": "Whether this map helps a reader was not assessed: only a study with readers can say.",
    # How often a state is wrong.
    "reliability": "In {n} synthetic cases with known truth, maps with this result were misleading in {k} (95 % upper "
    "bound {upper:.1f} %); this is no evidence for patients.",
    "reliability.none": "How often this result is wrong has not been measured.",
}
