"""What the model card of explanations says of every map of a method for a model."""

from __future__ import annotations

from saliscope.trust import wording
from saliscope.trust.audit_card import AuditCard
from saliscope.trust.check import CheckResult, Outcome

METHOD, MODEL = "May maps of this method be read for this model?", "Does the model answer to what it should not?"


def of_model(audit: AuditCard) -> list[CheckResult]:
    """Return whether the method is barred, and whether the model was found to answer to a shortcut.

    A barred method forbids reading. A shortcut makes every map doubtful, also one that shows it faithfully: what the
    model says then is not what it seems to say.
    """
    if audit.barred:
        barred = CheckResult(
            "method", "Fidelity", METHOD, "against", wording.say("audit.barred", reason=_phrase(audit.barred)),
            "the model card of explanations",
        )  # fmt: skip
    else:
        barred = CheckResult("method", "Fidelity", METHOD, "supports", _randomised(audit),
                             "the model card of explanations")  # fmt: skip
    found = [barred]
    doubted = [r for r in audit.results if r.outcome in ("against", "unclear") and r.check in DOUBTED]
    found += [
        CheckResult(f"model-{r.check}", r.heading, r.question, "unclear", r.sentence, r.threshold) for r in doubted
    ]
    if audit.shortcuts:
        said = wording.say("audit.shortcut", what="; ".join(audit.shortcuts))
        found.append(CheckResult("shortcuts", "Plausibility", MODEL, "unclear", said, "the model card of explanations"))
    elif audit.insertions or audit.findings:
        n = len(audit.insertions) + len(audit.findings)
        few = audit.cohort.images < LEAST
        said = wording.say("audit.small", images=audit.cohort.images) if few else wording.say("audit.no-shortcut", n=n)
        outcome: Outcome = "unclear" if few else "supports"
        found.append(CheckResult("shortcuts", "Plausibility", MODEL, outcome, said, "the model card of explanations"))
    else:
        said = wording.say("not-run", why="nothing was planted and no table was given when the model was audited")
        found.append(CheckResult("shortcuts", "Plausibility", MODEL, "not-run", said))
    return found


#: An audit of fewer images finds too little: on drawn radiographs one of ten images missed a word, one of 16 found it.
LEAST = 16
#: Checks of the audit that make every map doubtful where they do not support it.
DOUBTED = ("class-discrimination", "randomisation", "fidelity")


def _phrase(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _randomised(audit: AuditCard) -> str:
    found = next((r.sentence for r in audit.results if r.check == "randomisation"), "")
    return found or wording.say("not-run", why="the audit holds no randomisation test")
