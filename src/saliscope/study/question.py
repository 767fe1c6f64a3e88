"""What was asked of a network: words that become indices when its first output is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from saliscope.core.errors import TargetError
from saliscope.core.prediction import Prediction
from saliscope.core.target import CallableTarget, Holding, Indexed, PerImage, Target, Together, choose
from saliscope.core.target_words import plain_words
from saliscope.model.network import Network

if TYPE_CHECKING:
    from torch import Tensor

Word = str | int
Asked = Word | Target | Callable[["Tensor"], "Tensor"] | Sequence[Word | Target]


@dataclass(eq=False)
class Question:
    """A target that settles on the first output it scores, so that asking for "top" costs no run of its own.

    Keeps that output, from which the prediction is read; `notes` say which label "top" took, where it had a choice.
    """

    asked: Asked
    network: Network
    output: Tensor | None = None
    notes: tuple[str, ...] = ()
    _target: Target | None = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels that were settled on."""
        return self._target.labels if self._target is not None else ()

    def labels_of(self, n: int) -> tuple[str, ...]:
        """Return the labels of image n, which has its own where each image is asked another question."""
        return self.of(n).labels

    def scores(self, output: Tensor) -> Tensor:
        """Return the scores (N, K) of an output; raises TargetError for a target that the network does not have."""
        if self._target is None:
            self.output = output.detach()
            self._target = self._settled(self.output)
        return self._target.scores(output)

    def held(self, run: Callable[[], Tensor]) -> Target:
        """Return the settled target with what must stay as it is for the output that `run` returns."""
        settled = self._target if self._target is not None else self
        return settled.held(run) if settled is not self and isinstance(settled, Holding) else settled

    def of(self, n: int) -> Target:
        """Return the settled target of image n."""
        settled = self._target if self._target is not None else self
        return settled.of(n) if settled is not self and isinstance(settled, Indexed) else settled

    def _settled(self, output: Tensor) -> Target:
        asked = self.asked
        several = asked if isinstance(asked, list | tuple) else [asked]
        if not isinstance(asked, PerImage) and not isinstance(asked, Target) and not callable(asked):
            for one in several:
                if not isinstance(one, Word | Target):
                    raise TargetError(
                        f"a target of type {type(one).__name__} ({one!r})",
                        expected="a label, an index, words such as 'top' or 'contrast:a/b', a Target, a function",
                        do="Name what is to be explained; int(x) makes an index of a number",
                    )
        if isinstance(self.asked, PerImage):
            if len(self.asked.targets) != len(output):
                raise _not_one_each(len(self.asked.targets), len(output))
            return PerImage(tuple(self._of([t], output[n : n + 1]) for n, t in enumerate(self.asked.targets)))
        if isinstance(self.asked, Target):
            return self.asked
        if callable(self.asked):
            return CallableTarget(self.asked)
        return self._of([self.asked] if isinstance(self.asked, Word) else list(self.asked), output)

    def _of(self, asked: list[Word | Target], output: Tensor) -> Target:
        words = [one for one in asked if isinstance(one, Word)]
        if len(words) < len(asked):
            found = [self._of([one], output) if isinstance(one, Word) else one for one in asked]
            return found[0] if len(found) == 1 else Together(tuple(found))
        labels = self.network.labels_for(output)
        if not any(asks_for_top(word) for word in words):
            return choose(words, labels, self.network.kind)
        prediction = self.network.predictions(output)[0]
        self.notes = (*self.notes, *_of_choice(prediction))
        return choose(words, labels, self.network.kind, prediction.top, prediction.called)


def _of_choice(prediction: Prediction) -> list[str]:
    """Return in a sentence which label "top" took, where the network calls several or none."""
    name, called = prediction.labels[prediction.top], prediction.called
    if prediction.kind == "segmentation" and not called:
        return [f"Nothing but {name} is predicted anywhere: that is what 'top' took."]
    if not called:
        return [f"The model calls no label; 'top' took {name}, the nearest to its threshold."]
    if len(called) < 2:
        return []
    by = "predicted in the most of the image" if prediction.kind == "segmentation" else "furthest above its threshold"
    others = ", ".join(prediction.labels[i] for i in called[1:])
    return [
        f"The model calls {len(called)} labels; 'top' took {name}, {by}. 'called' explains the others too: {others}."
    ]


def asks_for_top(asked: Asked) -> bool:
    """Return whether the answer to what was asked may differ between the images of a batch."""
    return any(word in ("top", "called") for asked_for in words_of(asked) for word in plain_words(asked_for))


def asks_for_several(asked: Asked) -> bool:
    """Return whether what was asked has the form of several questions, so that a list is the answer."""
    return isinstance(asked, list | tuple) or any(
        word in ("all", "called") for asked_for in words_of(asked) for word in plain_words(asked_for)[:2]
    )


def shared_out(asked: Asked, counts: Sequence[int]) -> list[Asked]:
    """Return what is asked of each batch of so many images: their own targets where each image has one.

    Raises TargetError where there are not as many targets as images.
    """
    if not isinstance(asked, PerImage):
        return [asked] * len(counts)
    if len(asked.targets) != sum(counts):
        raise _not_one_each(len(asked.targets), sum(counts))
    ends = list(accumulate(counts))
    return [PerImage(asked.targets[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def words_of(asked: Asked) -> list[Word]:
    """Return the words among what was asked."""
    several = asked if isinstance(asked, list | tuple) else [asked]
    return [word for word in several if isinstance(word, Word)]


def _not_one_each(targets: int, images: int) -> TargetError:
    return TargetError(
        f"{targets} targets for {images} images", expected="one target for each image", do="Give one for each image"
    )
