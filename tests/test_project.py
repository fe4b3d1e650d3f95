"""The project keeps its own rules: lint, layers, installable README commands, links that lead somewhere."""

import pathlib
import re
import subprocess
import sys

import pytest
from importlinter.cli import lint_imports

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("data/*/README.md")])


def test_lint():
    run = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_floors(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("jax", "flax", "tensorflow", "tensorflow_datasets", "grain")
    code = f"import sys, videogvt, videogvt.world.example; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["main command", "test command"])
def test_readme_has_one_command_for(name):
    block = re.findall(rf"<!-- {name} -->\n```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(block) == 1 and block[0].count("\n") == 1 and block[0].startswith("pip install -e ")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(document):
    """Configs and scripts that a document tells the reader to run are there."""
    named = set(re.findall(r"\b(?:configs|benchmarks|examples|tests)/[\w/]+\.py\b", document.read_text()))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_no_dependency_comes_from_git():
    assert "git+" not in (ROOT / "setup.py").read_text()


def test_constraints_satisfy_the_bounds():
    """Every requirement is in the co-tested set, at a version inside its bounds."""
    from packaging.requirements import Requirement

    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    text = (ROOT / "setup.py").read_text()
    names = re.findall(r'"([A-Za-z][\w.-]*(?:\[[\w,]+\])?[<>=][^"]*)"', text)
    checked = 0
    for requirement in map(Requirement, names):
        version = pinned.get(requirement.name.lower().replace("_", "-"))
        if version is not None:
            checked += 1
            assert requirement.specifier.contains(version), f"{requirement} and constraints.txt has {version}"
    assert checked > 20


@pytest.mark.parametrize("card", sorted(ROOT.glob("videogvt/pretrained/*/card.md")), ids=lambda path: path.parent.name)
def test_the_page_of_models_says_what_the_cards_say(card):
    """Every model that ships has a column, and its parameters and figures are those of its card."""
    columns = {}
    for table in re.findall(r"\n\| \| `.*?\n\n", (ROOT / "docs" / "models.md").read_text(), re.DOTALL):
        rows = [[cell.strip(" *`") for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
        columns |= {column[0]: dict(zip([row[0] for row in rows], column)) for column in zip(*rows)}
    text, own = card.read_text(), columns[card.parent.name]
    assert own.get("parameters", own.get("parameters, in half precision")) == re.search(
        r"\| Parameters \| ([\d,]*\d)", text)[1]
    figures = {name: float(value) for name, value in re.findall(r"^\| (\w+) \| ([\d.]+) ", text, re.MULTILINE)[::-1]}
    if "psnr" in figures:  # the first of a card is that of test
        assert own["track error, median px"] == f"{figures['track_error_px_median']:.2f}"
        assert float(own["object found"].rstrip(" %")) == pytest.approx(100 * figures["object_found_share"], abs=0.011)
        assert float(own[next(row for row in own if row.startswith("PSNR"))]) == figures["psnr"]
    else:
        assert own["exactly one object persists"] == f"{100 * figures['one_object_share']:.1f} %"
        assert own["the same, in the worst class"] == f"{100 * figures['oracle_agreement_min']:.1f} %"
        assert own["class named by a classifier"] == f"{100 * figures['judge_agreement']:.1f} %"


def test_the_results_fit_on_a_page_and_link_into_the_record():
    page, record = ((ROOT / "docs" / name).read_text() for name in ("results.md", "record.md"))
    headings = re.findall(r"^#+ (.*)$", record, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = set(re.findall(r"\(record\.md#([^)]+)\)", page))
    assert len(page.splitlines()) <= 60 and len(linked) > 5 and linked <= anchors
