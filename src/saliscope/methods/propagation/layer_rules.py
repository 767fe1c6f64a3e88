"""Rules for layers by name, as composites of zennit have them, of which kohlbrenner2020 shows the use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from saliscope.core.errors import MethodError, did_you_mean
from saliscope.methods.propagation.rules import NAMES

Pairs = tuple[tuple[str, str], ...]


def check_rules(rules: Pairs) -> None:
    """Raise MethodError unless rules are pairs of a pattern of layer names and the name of a rule."""
    for pair in rules:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise MethodError(
                f"rules with {pair!r}", expected='pairs such as ("layer4.*", "epsilon")', do="Correct the field rules"
            )
        if pair[1] not in NAMES:
            raise MethodError(f"rule {pair[1]!r}", expected="the name of a rule", do=did_you_mean(pair[1], NAMES))


@dataclass
class LayerRules:
    """The rule of the layer that is running, which `innermost` names; the last pattern that matches wins."""

    rules: Pairs
    innermost: Callable[[], str]
    used: set[str] = field(default_factory=set)

    def rule(self, other: str) -> str:
        """Return the rule of the layer that is running, or another where no pattern matches its name."""
        name = self.innermost()
        matching = [(pattern, rule) for pattern, rule in self.rules if fnmatchcase(name, pattern)]
        self.used.update(pattern for pattern, _ in matching)
        return matching[-1][1] if matching else other

    def check(self) -> None:
        """Raise MethodError for a pattern that no linear layer or normalisation of the run has matched."""
        for pattern, _ in self.rules:
            if pattern not in self.used:
                raise MethodError(
                    f"a rule for {pattern!r}, which names no layer that ran",
                    expected="a pattern of dotted names of convolutions, linear layers or batch normalisations",
                    do="Look the names up with named_modules(); * stands for any part of a name",
                )
