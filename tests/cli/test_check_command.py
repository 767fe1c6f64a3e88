"""`saliscope check` and `audit-model` as a newcomer meets them; what is looked at is made up here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.cli.main import main
from saliscope.study.drawing import lesion_in_speckle
from saliscope.trust.audit_card import AuditCard, Cohort
from saliscope.trust.check import CheckResult
from saliscope.trust.explanation_card import ExplanationCard
from saliscope.trust.schema import faults

SEEN: list[tuple] = []


def run(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    drawn = lesion_in_speckle(96)
    Image.fromarray(drawn).save(folder / "one.png")
    Image.fromarray(np.ascontiguousarray(drawn[:, ::-1])).save(folder / "two.png")
    return folder


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that cost nothing: control maps are bad, all others good."""
    SEEN.clear()

    def checked(explanation, case, network, method, audit, tier, said, asked) -> ExplanationCard:
        SEEN.append((case.image.name, explanation.provenance.method, tier, audit and audit.digest))
        good = explanation.traits.family != "control"
        told = CheckResult(
            "region-test", "Fidelity", "Does it matter?", "supports" if good else "against", "It was looked at."
        )
        return ExplanationCard.of(explanation, case.image.name, [told], audit=audit, tier=tier, samples=3)

    def audited(whole, network, name, method, asked, limits, said) -> AuditCard:
        from saliscope.study.explain import explained

        first = explained([whole.members[0].case(network, limits)], network, {name: method}, [asked], said)[0]
        cohort = Cohort(whole.source, len(whole.members), whole.patients, whole.excluded)
        return AuditCard.made(first, cohort, [])

    monkeypatch.setattr("saliscope.study.check.examined", checked)
    monkeypatch.setattr("saliscope.study.audit.card_of", audited)


def test_without_an_audit_the_best_is_not_assessed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("check", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "-o", out) == 0
    said = capsys.readouterr()
    assert "one: spot by grad-cam: NOT ASSESSED. There is no model card" in said.out
    assert f"Open {out / 'one' / 'spot.grad-cam' / 'card.html'}" in said.out
    card = json.loads((out / "one" / "spot.grad-cam" / "card.json").read_text())
    assert faults(card, "explanation-card") == []
    assert SEEN == [("one", "grad-cam", "quick", None)]


def test_json_is_the_card(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("check", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "-q", "--json", "--tier", "full")
    assert run(*words, "-o", tmp_path / "out") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["state"] == "not-assessed"
    assert card["coverage"] == {"run": 1, "applicable": 1}
    assert card["tier"] == "full"
    assert card == json.loads((tmp_path / "out" / "one" / "spot.grad-cam" / "card.json").read_text())


def test_several_maps_are_a_list_and_a_hidden_map_is_no_failure(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    words = ("check", pictures, "-m", "spot-finder", "-t", "spot", "--method", "constant,grad-cam", "-q", "--json")
    assert run(*words, "-o", tmp_path / "out") == 3
    told = json.loads(capsys.readouterr().out)
    assert [c["state"] for c in told["cards"]] == ["do-not-read", "not-assessed"] * 2
    assert "broken.png" in told["failures"][0]["source"]
    page = (tmp_path / "out" / "one" / "page.html").read_text()
    assert page.index("DO NOT READ") < page.index("Show the hidden map") < page.index("NOT ASSESSED")
    assert "DO NOT READ" in (tmp_path / "out" / "index.html").read_text()


def test_an_audit_that_fits_is_referred_to_and_a_run_goes_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("audit-model", "spot-finder", pictures, "-t", "spot", "-o", tmp_path / "audit", "-q") == 0
    path = tmp_path / "audit" / "spot.grad-cam" / "audit.json"
    assert "spot by grad-cam: shortcuts flagged: none" in capsys.readouterr().out
    assert path.with_suffix(".html").is_file()
    words = ("check", pictures, "-m", "spot-finder", "-t", "spot", "-o", tmp_path / "out", "-q")
    assert run(*words, "--card", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {c["state"] for c in told["cards"]} == {"read-with-care"}
    assert {c["audit"]["digest"] for c in told["cards"]} == {AuditCard.read(path).digest}
    assert len(SEEN) == 2
    assert run(*words, "--card", path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == told
    assert len(SEEN) == 2, "what was checked before is kept"
    assert run(*words) == 2, "another audit is another run"
    assert run(*words, "--tier", "full", "--overwrite") == 0
    assert len(SEEN) == 4


def test_an_audit_of_another_target_is_no_audit(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("audit-model", "spot-finder", pictures, "-o", tmp_path / "audit", "-q", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {c["target"] for c in told["cards"]} == {"no spot", "spot"}
    other = tmp_path / "audit" / "no-spot.grad-cam" / "audit.json"
    words = ("check", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "-q", "--json")
    assert run(*words, "--card", other, "-o", tmp_path / "a") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["state"] == "not-assessed"
    assert "made for the target no spot" in card["reasons"][0]
    both = ("--card", other, "--card", tmp_path / "audit" / "spot.grad-cam" / "audit.json")
    assert run(*words, *both, "-o", tmp_path / "b") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "read-with-care"


def test_explain_check_gives_each_map_its_card(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("explain", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "--check", "-o", out) == 0
    assert "one: NOT ASSESSED; spot: probability" in capsys.readouterr().out
    assert (out / "one" / "spot.grad-cam" / "card.html").is_file()
    assert json.loads((out / "run.json").read_text())["cases"][0]["states"] == ["NOT ASSESSED"]
    assert run("explain", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "-o", out) == 2
    assert run("explain", pictures / "one.png", "-m", "spot-finder", "-t", "spot", "-o", tmp_path / "plain") == 0
    assert not list((tmp_path / "plain").rglob("card.*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "IN", "-m", "spot-finder", "--tier", "fast"), "quick or full"),
        (("check", "IN", "-m", "spot-finder", "--card", "IN/one.png"), "a model card of explanations"),
        (("audit-model", "spot-finder", "IN", "-t", "top"), "one question for all images"),
        (("audit-model", "spot-finder", "IN", "--masks", "IN/nowhere"), "folder of masks"),
        (("audit-model", "spot-finder", "IN", "-t", "elephant"), "elephant"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    told = [w.replace("IN", str(pictures)) for w in words]
    assert run(*told, "-o", tmp_path / "out", "-q") == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.json"))


def test_an_audit_is_not_written_over_what_is_there(pictures: Path, tmp_path: Path) -> None:
    words = ("audit-model", "spot-finder", pictures, "-t", "spot", "-o", tmp_path / "a", "-q")
    assert run(*words) == 0
    assert run(*words) == 2
    assert run(*words, "--overwrite") == 0
    foreign = tmp_path / "b" / "spot.grad-cam"
    foreign.mkdir(parents=True)
    (foreign / "mine.txt").write_text("kept")
    assert run(*words[:-2], tmp_path / "b", "-q", "--overwrite") == 2
    assert (foreign / "mine.txt").read_text() == "kept"


def test_an_audit_of_unreadable_files_only_is_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert run("audit-model", "spot-finder", tmp_path / "broken.png", "-t", "spot", "-o", tmp_path / "out") == 2
    assert "broken.png" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "audit-model"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom saliscope.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\nexcept SystemExit as e: assert not e.code, e.code\n"
        "sys.stderr.write(' '.join({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, command], check=True, capture_output=True, text=True)
    assert not {"torch", "numpy", "scipy", "PIL", "jinja2", "matplotlib"} & {*done.stderr.split()}
