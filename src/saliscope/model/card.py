"""The model card: what a network is, how to load it, how it sees, and what it must not be used for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

from saliscope.core.errors import CardError, SaliscopeError, WeightsError, did_you_mean
from saliscope.core.target import OutputKind
from saliscope.model.adapters.hub import SUFFIXES, check_address, is_address, kept
from saliscope.model.file_kind import NOT_WHOLE, OF_WEIGHTS, WORDS, file_kind, init_command
from saliscope.model.shipped import shipped, words_of
from saliscope.model.steps import make_step
from saliscope.model.view import Source, Viewing, described

SCHEMA = 1
DATA = "$SALISCOPE_DATA"

#: What each key of a card must be; those of REQUIRED must be there.
KEYS: Mapping[str, tuple[type, ...]] = {
    "schema": (int,),
    "name": (str,),
    "title": (str,),
    "description": (str,),
    "architecture": (str,),
    "arguments": (dict,),
    "weights": (str,),
    "digest": (str,),
    "state_key": (str,),
    "prefix": (str,),
    "rename": (dict,),
    "ignore": (list,),
    "labels": (list,),
    "output": (str,),
    "output_key": (str, int),
    "thresholds": (dict,),
    "scale": (str,),
    "layer": (str,),
    "modalities": (list,),
    "dimensions": (int,),
    "source": (str,),
    "view": (list,),
    "licence": (str,),
    "attribution": (str,),
    "intended": (str,),
    "warning": (str,),
    "family": (str,),
    "performance": (dict,),
    "limits": (list,),
}
REQUIRED = (
    *("schema", "name", "title", "description", "architecture", "labels", "output", "modalities", "dimensions"),
    *("view", "licence", "attribution", "intended", "limits"),
)


@dataclass(frozen=True, eq=False)
class Card:
    """One model card, checked; `view` holds the steps, `thresholds` a probability for some of the labels.

    `weights` is a path beside the card, or begins with "$SALISCOPE_DATA/", or is an address "https://..." (then with a
    digest), or is empty where the architecture's weights are analytic; `digest` is "sha256:" and the SHA-256 of that
    file; `state_key` says where in a checkpoint the weights lie, such as "ema/model"; `prefix` begins every key of
    them, but for those whose beginnings `rename` replaces and `ignore` leaves out. With `scale` "operating-point",
    probabilities are shown too on the scale on which each threshold is 0.5.
    `warning` is said whenever the network is used; networks of one `family` are listed together.
    """

    path: Path
    name: str
    title: str
    description: str
    architecture: str
    labels: tuple[str, ...]
    output: OutputKind
    modalities: tuple[str, ...]
    dimensions: int
    view: Viewing
    licence: str
    attribution: str
    intended: str
    limits: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    digest: str = ""
    state_key: str | None = None
    prefix: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    output_key: str | int | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    scale: Literal["probability", "operating-point"] = "probability"
    layer: str = "auto"
    warning: str = ""
    family: str = ""
    performance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the card of a TOML file; raises CardError that says what is wrong with it."""
        return cls.of(words_of(Path(path)), Path(path))

    @classmethod
    def of(cls, words: Mapping[str, Any], file: Path) -> Self:
        """Return the card of what a file says; raises CardError that says what is wrong with it."""
        _check_keys(words, file)
        _check_values(words, file)
        try:
            steps = tuple(make_step(step) for step in words["view"])
        except SaliscopeError as error:
            raise CardError(f"card {file}: {error.got}", expected=error.expected, do=error.do) from error
        source: Source = words.get("source", "values")
        direct = {f.name for f in fields(cls)} - {"view", "path"}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in words.items() if k in direct}
        return cls(path=file, view=Viewing(steps, source), **values)

    def weights_path(self) -> Path | None:
        """Return where the weights lie, or None where the architecture needs none.

        Raises WeightsError when the card points into the data folder and nobody said where that is, and when it
        names an address whose file was not fetched.
        """
        if not self.weights:
            return None
        if is_address(self.weights):
            return kept(self.weights, self.digest, self.name)
        if not self.weights.startswith(f"{DATA}/"):
            return self.path.parent / self.weights
        folder = os.environ.get(DATA[1:])
        if not folder:
            raise WeightsError(
                f"the weights of {self.name!r} lie at {self.weights}, and {DATA[1:]} is not set",
                do=f"Set the environment variable {DATA[1:]} to the folder of the data",
            )
        return Path(folder) / self.weights[len(DATA) + 1 :]

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Return which of licence, attribution, intended use and limits the card leaves empty."""
        return tuple(key for key in ("licence", "attribution", "intended", "limits") if not getattr(self, key))

    def describe(self) -> dict[str, Any]:
        """Return the whole card as plain values for JSON, the view as one line for each step."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("path", "view")}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}
        return {"schema": SCHEMA, **plain, "source": self.view.source, "view": described(self.view.steps)}


def find(name_or_path: str | Path) -> Card:
    """Return the card of a shipped name, a TOML file, or a MONAI bundle's folder; raises CardError if there is none."""
    known = shipped()
    if str(name_or_path) in known:
        return Card.read(known[str(name_or_path)])
    path = Path(name_or_path)
    if path.suffix == ".toml" or (path.is_file() and not _refuse_weights(path)):
        return Card.read(path)
    if (path / "card.toml").is_file():
        return Card.read(path / "card.toml")
    if (path / "configs" / "metadata.json").is_file():
        from saliscope.model.adapters.bundle import card_of

        return card_of(path)
    if (path / "saved_model.pb").is_file():
        raise CardError(
            f"model {path} is a SavedModel of TensorFlow and not a card",
            expected="a Keras model in one .h5 file",
            do=f"Save it where you trust it: model.save('model.h5'); then {init_command(Path('model.h5'))}",
        )
    if path.suffix.lower() in SUFFIXES:
        raise CardError(f"model {path}: no such file", expected="weights or a card", do="Correct the path")
    raise CardError(
        f"model {str(name_or_path)!r}",
        expected="the name of a shipped model, or the path of a card (.toml) or of a MONAI bundle",
        do=did_you_mean(str(name_or_path), known),
    )


def _refuse_weights(path: Path) -> bool:
    """Return False for a text; raises for any other file, with the command that writes a card for it."""
    kind = file_kind(path)
    if kind == "text":
        return False
    if kind in NOT_WHOLE:
        raise WeightsError(f"model {path} is {WORDS[kind]}", expected="a whole file", do="Fetch or write it again")
    if kind in ("archive", "pickle"):
        from saliscope.model.checkpoint import read_checkpoint

        # A pickled module is refused here, with the way to store its weights.
        read_checkpoint(path)
    if kind == "exported":
        raise CardError(
            f"model {path} is {WORDS[kind]}",
            expected="a card, or weights",
            do="Export it as ONNX where you trust it: torch.onnx.export(torch.export.load(file), f='model.onnx'); "
            f"then {init_command(Path('model.onnx'))}",
        )
    if kind not in OF_WEIGHTS:
        raise CardError(
            f"model {path} is {'not a file of weights that is known' if kind == 'unknown' else WORDS[kind]}",
            expected="the name of a shipped model, or the path of a card (.toml) or of a MONAI bundle",
            do=f"If it holds a network's weights, write its card: {init_command(path)}",
        )
    card = path.with_suffix(".toml")
    if card.is_file() and words_of(card).get("weights") == path.name:
        do = f"Its card lies beside it: take {card}"
    else:
        do = f"Write its card with one command: {init_command(path)}"
    raise CardError(f"model {path} is {WORDS[kind]} and not a card", do=do)


def _check_keys(words: Mapping[str, Any], file: Path) -> None:
    """Refuse another schema, unknown keys, missing keys and values of a wrong type."""
    if words.get("schema") != SCHEMA:
        raise CardError(
            f"card {file} with schema {words.get('schema', '(none)')}",
            expected=f"schema = {SCHEMA}",
            do="Write the card for this version of saliscope, or take the version that the card was written for.",
        )
    for key, value in words.items():
        if key not in KEYS:
            raise CardError(f"card {file} with key {key!r}", expected="a known key", do=did_you_mean(key, KEYS))
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            wanted = " or ".join(_WORDS[t] for t in KEYS[key])
            raise CardError(f"card {file} with {key} = {value!r}", expected=wanted, do="Correct it.")
    for key in REQUIRED:
        if key not in words:
            raise CardError(f"card {file} without {key!r}", expected="every required key", do=f"Add {key} = ...")


def _check_values(words: Mapping[str, Any], file: Path) -> None:
    """Refuse values that do not fit each other."""
    labels, output = words["labels"], words["output"]
    for key in ("labels", "modalities", "limits", "ignore"):
        listed = words.get(key, [])
        empty = not listed and key in ("labels", "modalities")
        if empty or not all(isinstance(v, str) and v for v in listed):
            raise CardError(f"card {file} with {key} = {listed!r}", expected="a list of words", do="Fill it in.")
    if len(set(labels)) != len(labels) or (output == "binary" and len(labels) != 2):
        raise CardError(
            f"card {file} with labels {labels}",
            expected="different labels, and two for a binary output",
            do="Name each class once; for a single logit name both the negative and the positive class.",
        )
    choices: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("output", output, get_args(OutputKind)),
        ("source", words.get("source", "values"), get_args(Source)),
        ("scale", words.get("scale", "probability"), ("probability", "operating-point")),
        ("dimensions", words["dimensions"], (2, 3)),
    )
    for key, value, allowed in choices:
        if value not in allowed:
            raise CardError(
                f"card {file} with {key} = {value!r}",
                expected=" or ".join(repr(a) for a in allowed),
                do=did_you_mean(value, allowed) if isinstance(value, str) else "Correct it.",
            )
    for label, limit in words.get("thresholds", {}).items():
        if label not in labels:
            raise CardError(f"card {file} with a threshold for {label!r}", do=did_you_mean(label, labels))
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 <= limit <= 1:
            raise CardError(
                f"card {file} with the threshold {limit!r} for {label!r}",
                expected="a probability from 0 to 1",
                do="Correct it.",
            )
    if not all(isinstance(new, str) for new in words.get("rename", {}).values()):
        raise CardError(
            f"card {file} with rename = {words['rename']!r}", expected='{ "old." = "new." }', do="Correct it."
        )
    if not all(isinstance(step, dict) for step in words["view"]):
        raise CardError(f"card {file} with view = {words['view']!r}", expected="[[view]] tables", do="Correct it.")
    _check_weights(words, file)


def _check_weights(words: Mapping[str, Any], file: Path) -> None:
    digest = words.get("digest", "")
    algorithm, _, code = digest.partition(":")
    if digest and (algorithm != "sha256" or len(code) != 64 or set(code) - set("0123456789abcdef")):
        raise CardError(
            f"card {file} with digest = {digest!r}",
            expected="'sha256:' and 64 hexadecimal digits",
            do="Write what sha256sum says of the weights file.",
        )
    if is_address(words.get("weights", "")):
        check_address(words["weights"], digest, f"card {file}")
    if digest and not words.get("weights"):
        raise CardError(f"card {file} with a digest and no weights", expected="both or none", do="Name the file.")


_WORDS = {str: "text", int: "a whole number", dict: "a table", list: "a list"}
