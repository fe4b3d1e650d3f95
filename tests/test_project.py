"""The project keeps its own rules: lint, floors, installable README commands, links that lead somewhere."""

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
    named = set(re.findall(r"\b(?:configs|benchmarks|tests)/[\w/]+\.py\b", document.read_text()))
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
