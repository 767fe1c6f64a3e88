"""Names that stand for classes: ours from a table, third parties' from entry points, both by the same door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from saliscope.core.errors import MethodError, SaliscopeError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Registry(Generic[T]):
    """A catalogue of frozen dataclasses by kebab-case name; entry points are read once, on first use.

    It is iterated over by name. Raises `error` for a name or a field that is not there, and when two packages claim
    one name.

        >>> len(saliscope.METHODS), "grad-cam" in saliscope.METHODS, list(saliscope.METRICS)[:2]
        (52, True, ['pointing-game', 'iou'])
        >>> saliscope.METHODS.make("smoothgrad", samples=10).samples
        10
    """

    kind: str
    table: Mapping[str, str]
    group: str
    error: type[SaliscopeError] = MethodError

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """Return "module:Class" for every name."""
        found = dict(self.table)
        for entry in entry_points(group=self.group):
            if found.setdefault(entry.name, entry.value) != entry.value:
                raise self.error(
                    f"{self.kind} {entry.name!r} from both {found[entry.name]} and {entry.value}",
                    expected="one owner for a name",
                    do="Uninstall or rename one of them.",
                )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.addresses)

    def __len__(self) -> int:
        return len(self.addresses)

    def __contains__(self, name: object) -> bool:
        return name in self.addresses

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind}s: {', '.join(list(self)[:3])}, ...>"

    def names(self) -> list[str]:
        """Return all names, in the order of the catalogue."""
        return list(self.addresses)

    def get(self, name: str) -> type[T]:
        """Return the class of a name."""
        if name not in self.addresses:
            raise self.error(f"{self.kind} {name!r}", expected="a known name", do=did_you_mean(name, self.addresses))
        module, _, attribute = self.addresses[name].partition(":")
        try:
            found: type[T] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise self.error(
                f"{self.kind} {name!r} at {self.addresses[name]}, which does not import ({error})",
                do="Repair or uninstall the package that brings it",
            ) from error
        return found

    def make(self, name: str, **values: Any) -> T:
        """Return an instance with some of its fields set."""
        cls = self.get(name)
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                raise self.error(f"field {key!r} of {self.kind} {name!r}", do=did_you_mean(key, known or ["(none)"]))
        try:
            return cls(**values)
        except SaliscopeError:
            raise
        except (TypeError, ValueError) as error:
            raise self.error(f"{self.kind} {name!r} with {values} ({error})", do="Correct the fields") from error
