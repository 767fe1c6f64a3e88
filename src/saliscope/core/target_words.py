"""The words for targets: "pneumonia", 3, "top", "called", "all", "contrast:pneumonia/normal", "point:kidney@40/52"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from saliscope.core.errors import TargetError, did_you_mean
from saliscope.core.target_class import ContrastTarget, LogitTarget, ProbabilityTarget
from saliscope.core.target_contract import OutputKind, Target
from saliscope.core.target_mixture import Opposite, Together
from saliscope.core.target_region import ComponentTarget, PointTarget

#: What stands before the colon.
Sort = Literal["probability", "contrast", "minus", "component", "point"]
SORTS: tuple[str, ...] = get_args(Sort)
#: The grammar, for help and errors.
GRAMMAR = (
    "a label, an index, 'top' (what the model calls), 'called' (all that it calls) or 'all', by itself or in "
    "probability:LABEL, contrast:LABEL (against the mean of the others), contrast:LABEL/OTHER, minus:LABEL, "
    "component:LABEL (the largest), component:LABEL@ROW/COLUMN, "
    "point:LABEL@ROW/COLUMN (of a volume PLANE/ROW/COLUMN)"
)


@dataclass(frozen=True)
class _Known:
    """The labels of a network, the kind of its output, the label of "top", and those of "called"."""

    labels: tuple[str, ...]
    kind: OutputKind
    top: int
    called: tuple[int, ...]

    def indices(self, word: str | int) -> list[int]:
        """Return the classes of a label, an index, "top", "called" or "all"; raises TargetError for another word."""
        if isinstance(word, str) and word in self.labels:
            return [self.labels.index(word)]
        if word == "all":
            return list(range(len(self.labels)))
        if word == "top":
            return [self.top]
        if word == "called":
            return list(self.called)
        try:
            index = int(word)
        except ValueError:
            choices = [*self.labels, *(f"{sort}:" for sort in SORTS)]
            raise TargetError(f"target {word!r}", expected=GRAMMAR, do=did_you_mean(str(word), choices)) from None
        if not 0 <= index < len(self.labels):
            raise TargetError(
                f"target index {index}",
                expected=f"0 to {len(self.labels) - 1}",
                do=f"The labels are: {', '.join(self.labels)}",
            )
        return [index]

    def names(self, word: str | int) -> bool:
        """Return whether a word stands for one class or more."""
        return word in self.labels or word in ("top", "called", "all") or str(word).isdecimal()


def choose(
    wanted: Sequence[str | int],
    labels: Sequence[str],
    kind: OutputKind,
    top: int = 0,
    called: Sequence[int] = (),
) -> Target:
    """Return the target for words: labels, indices, "top", "called", "all", or one of the sorts.

    `top` is the label that the network calls before others, `called` are all that it calls; where that is none,
    "called" is what "top" is. Columns come in the order of the words, each once. A word that is a label means that
    label, whatever it looks like. Raises TargetError for a word, a name or an index that does not fit the network.
    """
    known = _Known(tuple(labels), kind, top, tuple(called) or (top,))
    parts: list[Target | int] = []
    for word in wanted:
        sort, colon, rest = str(word).partition(":")
        if colon and sort in SORTS and word not in known.labels:
            parts += SETTLE[sort](rest, known)
        else:
            parts += known.indices(word)
    targets: list[Target] = []
    run: list[int] = []
    # Logits that stand side by side are one target, which is all of it where nothing else was asked for.
    for part in [*dict.fromkeys(parts), None]:
        if isinstance(part, int):
            run.append(part)
            continue
        if run:
            targets.append(LogitTarget(tuple(run), tuple(known.labels[i] for i in run), kind))
            run = []
        if part is not None:
            targets.append(part)
    if not targets:
        raise TargetError("no target", expected="one or more words", do=f"Ask for {GRAMMAR}")
    return targets[0] if len(targets) == 1 else Together(tuple(targets))


def plain_words(word: str | int) -> list[str]:
    """Return the words for classes that a word may hold: of "contrast:top/normal" also "top" and "normal"."""
    sort, colon, rest = str(word).partition(":")
    inner = rest.rpartition("@")[0] or rest
    return [str(word), *([inner, *inner.split("/")] if colon and sort in SORTS else [])]


def _probability(rest: str, known: _Known) -> list[Target]:
    if known.kind == "regression":
        raise TargetError(f"the probability of {rest!r}, a value", expected="a class", do="Ask for the value itself")
    return [ProbabilityTarget((i,), (known.labels[i],), known.kind) for i in known.indices(rest)]


def _contrast(rest: str, known: _Known) -> list[Target]:
    if known.names(rest):
        first, others = known.indices(rest), None
    else:
        # A label may hold a slash: the one that parts two names is meant.
        cuts = [(rest[:i], rest[i + 1 :]) for i, c in enumerate(rest) if c == "/"]
        both = [cut for cut in cuts if all(map(known.names, cut))] or cuts[:1] or [(rest, rest)]
        first, others = known.indices(both[0][0]), known.indices(both[0][1])
    found: list[Target] = []
    for i in first:
        against = [j for j in (range(len(known.labels)) if others is None else others) if j != i]
        other = "the mean of the others" if len(against) > 1 else "".join(known.labels[j] for j in against)
        name = known.labels[i]
        found.append(ContrastTarget(i, tuple(against), name, other or name, known.kind))
    return found


def _minus(rest: str, known: _Known) -> list[Target]:
    return [Opposite(LogitTarget((i,), (known.labels[i],), known.kind)) for i in known.indices(rest)]


def _component(rest: str, known: _Known) -> list[Target]:
    _needs_space("component", known)
    label, at = _placed(rest, known)
    return [ComponentTarget(i, known.labels[i], at) for i in known.indices(label)]


def _point(rest: str, known: _Known) -> list[Target]:
    _needs_space("point", known)
    label, at = _placed(rest, known)
    if at is None:
        raise TargetError(f"target 'point:{rest}'", expected="point:LABEL@ROW/COLUMN", do="Say where, in elements")
    return [PointTarget(i, known.labels[i], at) for i in known.indices(label)]


def _placed(rest: str, known: _Known) -> tuple[str, tuple[int, ...] | None]:
    """Return a label and the element behind the last @, if any."""
    label, mark, place = rest.rpartition("@")
    if not mark or rest in known.labels:
        return rest, None
    parts = place.split("/")
    if not all(p.strip().isdecimal() for p in parts):
        raise TargetError(
            f"element {place!r} of {label!r}",
            expected="ROW/COLUMN or PLANE/ROW/COLUMN",
            do=f"For example {label}@40/52",
        )
    return label, tuple(map(int, parts))


def _needs_space(sort: str, known: _Known) -> None:
    if known.kind != "segmentation":
        raise TargetError(
            f"a {sort} of a network of kind {known.kind!r}",
            expected="a network that segments",
            do="Ask for a class, or say kind='segmentation' if the output is a map of classes",
        )


SETTLE = {
    "probability": _probability,
    "contrast": _contrast,
    "minus": _minus,
    "component": _component,
    "point": _point,
}
