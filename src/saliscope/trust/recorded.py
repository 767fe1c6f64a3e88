"""Scores and results of checks as the two documents hold them, and read back from there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from saliscope.core.score import Interval, Score, Undefined
from saliscope.trust import wording
from saliscope.trust.check import HEADINGS, CheckResult
from saliscope.write.record import json_bytes, plain

#: Of the layout of both documents; the first number changes when a reader of an older one would fail.
SCHEMA_VERSION = "1.0"


def result_record(result: CheckResult) -> dict[str, Any]:
    """Return what a document holds of a check: its score and null stand first, its sentence is the reason."""
    told = result.described()
    told["reason"] = told.pop("sentence")
    first = told["scores"][0] if told["scores"] else {"value": None, "null": None}
    return {**told, "score": first["value"], "null": first["null"]}


def result_of(record: Mapping[str, Any]) -> CheckResult:
    """Return the result of a check that a document holds."""
    return CheckResult(
        check=record["check"],
        heading=record["heading"],
        question=record["question"],
        outcome=record["outcome"],
        sentence=record["reason"],
        decisive=record["decisive"],
        threshold=record["threshold"],
        scores=tuple(score_of(score) for score in record["scores"]),
        samples=record["samples"],
    )


def score_of(record: Mapping[str, Any]) -> Score:
    """Return a score that a document holds."""
    ends = record["interval"]
    return Score(
        metric=record["metric"],
        value=number_of(record["value"]),
        direction=record["direction"],
        null=None if record["null"] is None else number_of(record["null"]),
        interval=None if ends is None else Interval(**ends),
        n=record["n"],
        excluded=record["excluded"],
        curve=tuple((x, y) for x, y in record["curve"]),
        parts=record["parts"],
        how=tuple(record["how"]),
    )


def number_of(value: float | Mapping[str, str]) -> float | Undefined:
    """Return a number that a document holds, or why there is none."""
    return Undefined(value["undefined"]) if isinstance(value, Mapping) else value


def not_assessed(results: Sequence[CheckResult]) -> dict[str, str]:
    """Return the headings under which nothing was run, with what that means."""
    seen = {r.heading for r in results if r.outcome not in ("not-run", "not-applicable")}
    said = {"Usefulness": wording.say("usefulness.none")}
    return {h: said.get(h, wording.say("heading.none")) for h in HEADINGS[1:] if h not in seen}


def method_digest(name: str, fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a method's name with its fields, the same for fields that were stored and read again."""
    return digest_of({"name": name, "fields": plain(fields)})


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain data as they are stored, so that numbers have the digits that a file holds."""
    return hashlib.sha256(json_bytes(record)).hexdigest()
