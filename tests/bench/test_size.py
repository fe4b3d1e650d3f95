"""The counter of the project's size, by hand on a small one, and on this one."""

import ast

from benchmarks import size

SOURCE = '''"""A module.

Two paragraphs.
"""

import os  # a comment does not count

LIMIT, _hidden = 3, 4
"""What a value is."""
KINDS: dict = {}


# a comment
def public(a,
           b):
    """Docstring."""
    text = """a string
    of two lines"""

    def inner():
        return text
    return inner


class Thing:
    """Docstring."""

    def method(self): pass
'''


def test_lines_functions_and_names_by_hand():
    assert size.code_lines(SOURCE) == 12
    tree = ast.parse(SOURCE)
    assert sorted(size.functions(tree)) == [("inner", 2), ("method", 1), ("public", 9)]
    assert list(size.public_names(tree)) == ["LIMIT", "KINDS", "public", "Thing"]


def test_a_small_project(tmp_path):
    files = {"videogvt/a.py": SOURCE, "videogvt/b/c.py": "class Thing: pass\nfrom os import path\n",
             "videogvt/f.py": "def main(): pass\ndef build(): pass\n", "videogvt/jobs/g.py": "def main(): pass\n",
             "videogvt/jobs/h.py": "def build(): pass\n",
             "configs/d.py": "def Thing():\n" + 40 * "    x = 1\n", "tests/e.py": "x = 1\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    contract = '[tool.importlinter]\n[[tool.importlinter.contracts]]\nlayers = ["a", "b | c"]\n'
    (tmp_path / "pyproject.toml").write_text(contract)
    found = size.measured(tmp_path)
    twice = next(name for name in found if name.startswith("public names defined in more than one module, without "))
    assert found == {
        "files of videogvt": 5, "files of videogvt, configs, benchmarks": 6, "lines of code": 12 + 2 + 4 + 41,
        "layers of the contract": 2, "functions": 8,
        "functions of more than 40 lines": ["configs/d.py: Thing, 41"],
        twice: ["Thing: videogvt/a.py, videogvt/b/c.py", "build: videogvt/f.py, videogvt/jobs/h.py"],
    }


def test_this_project_is_counted(capsys, monkeypatch):
    monkeypatch.setattr(size, "LOADS", {"VideoTokenizer": "local64_8x4x4"})
    size.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    counted = {line[9:]: int(line[:7].replace(",", "")) for line in lines if not line.startswith(9 * " ")}
    assert counted["files of videogvt"] > 100 and counted["lines of code"] > 5_000
    assert next(number for name, number in counted.items() if name.startswith("public names")) == 0
    assert 10 < counted["modules behind VideoTokenizer.load"] < counted["files of videogvt"]
    assert "             videogvt.pretrained.tokenizer" in lines and "             videogvt.report.page" not in lines
