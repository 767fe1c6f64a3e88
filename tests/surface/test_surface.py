"""The shape of the house: sizes, exports, docstrings, citations, names, and what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saliscope.core.errors import SaliscopeError
from saliscope.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "saliscope").rglob("*.py"))
OURS = [*SOURCES, *sorted((ROOT / "recipes").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
#: file or file:function -> why it may be longer.
LONGER: dict[str, str] = {
    "src/saliscope/study/api.py:explain": "its docstring is the manual of the call that everybody makes",
}
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "base"}
BIB = (ROOT / "docs" / "references.bib").read_text()


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS, ids=name)
def test_no_file_over_300_lines_and_no_function_over_50(path: Path) -> None:
    text = path.read_text()
    if name(path) not in LONGER:
        assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{name(path)}:{node.name}" not in LONGER:
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def test_every_exception_to_the_sizes_is_still_needed() -> None:
    for key, reason in LONGER.items():
        assert reason
        assert (ROOT / key.partition(":")[0]).is_file(), key


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_public_thing_has_a_docstring_of_a_sentence(path: Path) -> None:
    tree = ast.parse(path.read_text())
    things: list[ast.AST] = [tree]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            things.append(node)
            things += [m for m in node.body if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")]
    things += [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    for thing in things:
        doc = ast.get_docstring(thing)  # type: ignore[arg-type]
        assert doc, getattr(thing, "name", "module")
        assert re.search(r"[.:)](\s|$)", doc), doc


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_room_whose_name_says_nothing(path: Path) -> None:
    assert not VAGUE & {*path.relative_to(ROOT).parts, path.stem}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_refusal_says_what_to_do(path: Path) -> None:
    kinds = {c.__name__ for c in _tree(SaliscopeError)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
            words = {k.arg for k in node.keywords}
            assert "do" in words or None in words, f"line {node.lineno}: {node.func.id} without do="


def _tree(kind: type[SaliscopeError]) -> list[type[SaliscopeError]]:
    return [kind, *(s for sub in kind.__subclasses__() for s in _tree(sub))]


def test_the_error_tree_is_drawn_in_its_docstring() -> None:
    from saliscope.core import errors

    for kind in _tree(SaliscopeError):
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or ""), kind


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_cites_a_paper_that_the_bibliography_holds(method: str) -> None:
    cls = METHODS.get(method)
    key = cls.traits.citation
    assert re.search(rf"@\w+\{{{key},", BIB), key
    module = sys.modules[cls.__module__]
    assert (module.__doc__ or "").startswith(key), "the file opens with the citation key"


def test_every_citation_key_in_the_code_exists() -> None:
    known = set(re.findall(r"@\w+\{(\w+),", BIB))
    for path in SOURCES:
        for key in re.findall(r"\b([a-z]+(?:19|20)\d\d[a-z]?)\b", path.read_text()):
            assert key in known, f"{name(path)}: {key}"


def test_what_is_exported_is_what_is_named() -> None:
    import saliscope

    for public in saliscope.__all__:
        assert getattr(saliscope, public) is not None
    assert set(saliscope.__all__) <= set(dir(saliscope))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = saliscope.nothing


@pytest.mark.parametrize(
    "words", [["--help"], ["methods"], ["methods", "--json"], ["models"], ["explain", "--help"]], ids=" ".join
)
def test_help_and_catalogues_load_nothing_heavy(words: list[str]) -> None:
    """What they load is counted, not timed; benchmarks/start.py measures the seconds (below 0.3 each)."""
    code = (
        "import sys\nfrom saliscope.cli.main import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: assert not e.code, e.code\n"
        "sys.stderr.write(' '.join({m.partition('.')[0] for m in sys.modules}) + f' {len(sys.modules)}')"
    )
    run = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    *loaded, count = run.stderr.split()
    assert not {"torch", "numpy", "pydicom", "nibabel", "matplotlib", "scipy", "skimage", "monai", "PIL"} & {*loaded}
    assert int(count) < 700


def test_no_path_of_a_machine_in_what_is_kept() -> None:
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for path in kept:
        file = ROOT / path
        if file.suffix in {".py", ".md", ".toml", ".bib", ".html", ".json", ".cff", ""} and file.is_file():
            found = re.findall(r"(?<![\w.])/(?:work|root|opt|home)/\w+", file.read_text(errors="ignore"))
            assert not found, f"{path}: {found}"
