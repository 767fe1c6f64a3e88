"""Rules for layers by name, as composites of zennit have them, of which kohlbrenner2020 shows the use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from saliscope.core.errors import MethodError, did_you_mean
from saliscope.methods.propagation.rules import NAMES

Pairs = tuple[tuple[str, str], ...]


def pairs_of(rules: object) -> Pairs:
    """Return rules as pairs of a pattern of layer names and the name of a rule; raises MethodError for anything else.

    Lists are taken as tuples, because files have them, and "layer4.*:epsilon" as a pair, because options are words.
    """
    each = [rules] if isinstance(rules, str) else rules
    if not isinstance(each, list | tuple):
        raise _wrong(rules)
    found = []
    for one in each:
        pair = tuple(one.rpartition(":")[::2]) if isinstance(one, str) and ":" in one else one
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise _wrong(one)
        pattern, rule = pair
        if rule not in NAMES:
            raise MethodError(f"rule {rule!r}", expected="the name of a rule", do=did_you_mean(rule, NAMES))
        found.append((pattern, rule))
    return tuple(found)


def _wrong(value: object) -> MethodError:
    return MethodError(
        f"rules with {value!r}",
        expected='pairs of a pattern and a rule, (("layer4.*", "epsilon"),), or words, layer4.*:epsilon',
        do="Correct the field rules",
    )


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
