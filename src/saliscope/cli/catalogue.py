"""What there is: methods and models, listed without loading any network library."""

from __future__ import annotations

from collections import Counter
from dataclasses import MISSING, asdict, fields
from typing import Annotated, Any, get_args

import typer

from saliscope.cli.fetch import model_check, model_fetch
from saliscope.cli.model_init import model_init
from saliscope.cli.show import as_json, line, paragraph, plain, table
from saliscope.core.protocols import Family

#: What is shown of one method, in this order.
TRAITS = (
    "name",
    "about",
    "family",
    "grid",
    "signed",
    "class_discriminative",
    "fails_randomisation",
    "cost",
    "blind",
    "citation",
)
#: What is shown of one metric, in this order.
METRIC_TRAITS = ("name", "about", "category", "looks_at", "direction", "range", "null", "cost", "blind", "citation")
#: What a metric of each kind looks at, by the name of its method.
LOOKS_AT = {
    "of_map": "a map",
    "of_place": "a map and a mask",
    "of_pair": "two maps",
    "ask": "a map and the network",
    "of_method": "a method and the network",
    "scores_of_network": "a method and the network, over several images",
}
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method in full.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    json: Json = False,
) -> None:
    """List the methods, their fields, what they cost and what they cannot see."""
    from saliscope.methods import METHODS

    chosen = [name] if name else METHODS.names()
    found = _of_family([_method(n, METHODS.get(n)) for n in chosen], family)
    if json:
        as_json(found)
        return
    if name is None:
        table([_row(m) for m in found])
        failing = [m["name"] for m in found if m["fails_randomisation"]]
        if failing:
            paragraph(
                "\n*", "its map was shown to change little when the network's weights are drawn anew (adebayo2018)"
            )
        line("\n`saliscope methods NAME` shows what one cannot see, and its fields (--option NAME.FIELD=VALUE).")
        return
    for key in TRAITS:
        paragraph(key.replace("_", " "), plain(found[0][key]))
    one = found[0]
    for number, (field, default) in enumerate(one["fields"].items()):
        paragraph("" if number else "fields", f"{field} = {default}")


def _row(method: dict[str, Any]) -> dict[str, str]:
    return {
        "name": method["name"] + " *" * method["fails_randomisation"],
        "family": method["family"],
        "map": method["grid"],
        "signed": plain(method["signed"]),
        "by class": plain(method["class_discriminative"]),
        "source": method["citation"],
        "cost": method["cost"],
    }


def _of_family(found: list[dict[str, Any]], family: str | None) -> list[dict[str, Any]]:
    """Return the methods of a family, or all in the order of the families; raises MethodError for an unknown one."""
    from saliscope.core.errors import MethodError, did_you_mean

    known = [f for f in get_args(Family) if any(m["family"] == f for m in found)]
    if family is not None and family not in known:
        raise MethodError(f"family {family!r}", expected="a known family", do=did_you_mean(family, known))
    return [m for f in known if family in (None, f) for m in found if m["family"] == f]


def metrics(
    name: Annotated[str | None, typer.Argument(help="Show one metric in full.")] = None,
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    json: Json = False,
) -> None:
    """List the metrics of maps, what they look at, what knowing nothing scores, and what they cannot see."""
    from saliscope.metrics import METRICS

    found = _of_category([metric_words(n, METRICS.get(n)) for n in ([name] if name else METRICS.names())], category)
    if json:
        as_json(found)
        return
    if name is None:
        heads = {"name": "name", "category": "category", "looks_at": "looks at", "direction": "better"}
        table([{**{h: m[k] for k, h in heads.items()}, "source": m["citation"]} for m in found])
        line("\n`saliscope metrics NAME` shows what knowing nothing scores, and what a metric cannot see.")
        return
    for key in METRIC_TRAITS:
        paragraph(key.replace("_", " "), plain(found[0][key]))
    for number, (field, default) in enumerate(found[0]["fields"].items()):
        paragraph("" if number else "fields", f"{field} = {default}")


def metric_words(name: str, cls: type[Any]) -> dict[str, Any]:
    """Return a metric's traits, kind and fields as plain data."""
    low, high = cls.traits.range
    least, most = ("without end" if end is None else f"{end:g}" for end in (low, high))
    ends = "any number" if low is None and high is None else f"{least} to {most}"
    looks = " or ".join(words for method, words in LOOKS_AT.items() if hasattr(cls, method))
    return {**_method(name, cls), "range": ends, "looks_at": looks}


def _of_category(found: list[dict[str, Any]], category: str | None) -> list[dict[str, Any]]:
    """Return the metrics of a category, or all in the order of the categories; MetricError for an unknown one."""
    from saliscope.core.errors import MetricError, did_you_mean
    from saliscope.core.metric import Category

    known = [c for c in get_args(Category) if any(m["category"] == c for m in found)]
    if category is not None and category not in known:
        raise MetricError(f"category {category!r}", expected="a known category", do=did_you_mean(category, known))
    return [m for c in known if category in (None, c) for m in found if m["category"] == c]


def models(
    family: Annotated[str | None, typer.Option(help="List the networks of this family one by one.")] = None,
    json: Json = False,
) -> None:
    """List the networks that come with the package."""
    from saliscope.core.errors import CardError, did_you_mean
    from saliscope.model.shipped import shipped, words_of

    every = [words_of(path) for path in shipped().values()]
    families = Counter(c["family"] for c in every if c.get("family"))
    if family is not None and family not in families:
        raise CardError(f"family {family!r}", expected="a known family", do=did_you_mean(family, families))
    if json:
        as_json(every if family is None else [c for c in every if c.get("family") == family])
        return
    cards = [c for c in every if c.get("family") == family]
    table([
        {
            "name": c["name"],
            "input": f"{c['dimensions']}D {'/'.join(c['modalities'])}",
            "output": c["output"],
            "title": c["title"],
        }
        for c in cards
    ])  # fmt: skip
    for name, count in families.items() if family is None else ():
        line(f"\nand {count} of the family {name}: saliscope models --family {name}")
    line("\n`saliscope model show NAME` shows one in full. All are for research use only.")


model_app = typer.Typer(
    help="One network: its card, its weights, whether it loads.", no_args_is_help=True, rich_markup_mode=None
)


@model_app.callback()
def _model() -> None:
    """One network: its card, its weights, whether it loads."""


model_app.command("init")(model_init)
model_app.command("fetch")(model_fetch)
model_app.command("check")(model_check)


@model_app.command("show")
def model_show(
    name: Annotated[str, typer.Argument(help="The name of a shipped model, or the path of a card.")],
    json: Json = False,
) -> None:
    """Show what a network is, how it sees, its numbers, and what it must not be used for."""
    from saliscope.model.card import find

    card = find(name).describe()
    if json:
        as_json(card)
        return
    for key, value in card.items():
        several = [f"{k} = {plain(v)}" for k, v in value.items()] if isinstance(value, dict) else value
        listed = list(several) if isinstance(several, list | tuple) else [] if several in (None, "") else [several]
        for number, text in enumerate(listed):
            paragraph("" if number else key, plain(text))
    line("\nFor research use only, not for diagnosis.")


def _method(name: str, cls: type[Any]) -> dict[str, Any]:
    """Return the traits and fields of a method, or of a metric, as plain data."""
    defaults = {f.name: f.default if f.default is not MISSING else "(required)" for f in fields(cls)}
    plain = {
        k: v if isinstance(v, str | int | float | bool | None) else getattr(v, "name", str(v))
        for k, v in defaults.items()
    }
    return {"name": name, **asdict(cls.traits), "fields": plain, "about": (cls.__doc__ or "").split("\n\n")[0].strip()}
