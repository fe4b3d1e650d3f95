"""How large the project is, by what a reader meets: files, lines of code, long functions, names, modules behind a load.

    python benchmarks/size.py [--list]

Lines of code are those without docstrings, comments and blanks. A function is long with more than 40 lines from its
``def`` on, docstring included. A name is public if it is defined at the top of a module of the package and does not
begin with "_". Names of ``INTERFACES`` are left out: who calls them takes any module of that folder, one for another.
Modules are ours that ``sys.modules`` holds after a shipped artefact was loaded.
"""

import argparse
import ast
import collections
import io
import json
import pathlib
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("videogvt", "configs", "benchmarks")
LONG = 40
LOADS = {"VideoTokenizer": "local64_8x4x4", "VideoGenerator": "maskgvt64_8x4x4"}
INTERFACES = {
    "jobs": ("build",), "pretrained/compat": ("tokenizer", "generator", "networks"),
    "report": ("applies", "sections", "sentence", "table"), "": ("main",),
}
"""What modules of a folder have in common by agreement: pages of jobs, loaders of others' weights, pages of reports,
programs for ``python -m``."""
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """Lines of a module that hold something besides docstrings and comments."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in LAYOUT
             for line in range(token.start[0], token.end[0] + 1)}
    strings = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)
               and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
    return len(lines.difference(*(range(node.lineno, node.end_lineno + 1) for node in strings)))


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, methods and inner ones included."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield node.name, node.end_lineno - node.lineno + 1


def public_names(tree: ast.Module) -> Iterator[str]:
    """What a module defines for others: classes, functions and values; not what it imports."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [node.name] if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else [
            part.id for target in targets if target is not None for part in ast.walk(target)
            if isinstance(part, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def agreed(name: str, paths: Sequence[pathlib.Path]) -> bool:
    """Whether a name is of an interface that all these modules offer."""
    return any(name in names and all(path.is_relative_to(pathlib.Path(FOLDERS[0], folder)) for path in paths)
               for folder, names in INTERFACES.items())


def loaded(name: str, artefact: str) -> list[str]:
    """Our modules in a fresh interpreter that did ``name.load(artefact)``."""
    code = (f"import json, sys; from videogvt import {name}; {name}.load({artefact!r});"
            "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'videogvt']))")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(json.loads(run.stdout.splitlines()[-1]))


def measured(root: pathlib.Path = ROOT) -> dict[str, list[str] | int]:
    """The figures of a checkout that need no import, by what they are; of those that are lists their length counts."""
    sources = {path.relative_to(root): path.read_text() for folder in FOLDERS
               for path in sorted((root / folder).rglob("*.py"))}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    package = {path: tree for path, tree in trees.items() if path.parts[0] == FOLDERS[0]}
    homes = collections.defaultdict(list)
    for path, tree in package.items():
        for name in dict.fromkeys(public_names(tree)):
            homes[name].append(path)
    every = [(path, *found) for path, tree in trees.items() for found in functions(tree)]
    contract = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return {
        f"files of {FOLDERS[0]}": len(package), f"files of {', '.join(FOLDERS)}": len(sources),
        "lines of code": sum(map(code_lines, sources.values())),
        "layers of the contract": len(contract["layers"]), "functions": len(every),
        f"functions of more than {LONG} lines": [
            f"{path}: {name}, {lines}" for path, name, lines in every if lines > LONG],
        f"public names defined in more than one module, without {', '.join(sorted(sum(INTERFACES.values(), ())))}": [
            f"{name}: {', '.join(map(str, paths))}" for name, paths in sorted(homes.items())
            if len(paths) > 1 and not agreed(name, paths)],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="also what is counted, where it is not files or lines")
    chosen = parser.parse_args(arguments)
    figures = measured() | {f"modules behind {name}.load": loaded(name, artefact) for name, artefact in LOADS.items()}
    for what, value in figures.items():
        print(f"{len(value) if isinstance(value, list) else value:>7,}  {what}")
        if chosen.list and isinstance(value, list):
            print("".join(f"             {line}\n" for line in value), end="")


if __name__ == "__main__":
    main()
