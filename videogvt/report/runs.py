"""What a run left in its directory, read back."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from videogvt.core.arrays import Damaged, read_npz
from videogvt.core.registry import present_figures, stored_config
from videogvt.train import journal

Arrays = dict[str, np.ndarray]
Grid = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """The files of a run; what is not there yet is empty.

    Attributes:
      workdir: its directory.
      config: the resolved configuration (``config.json``).
      environment: versions, devices and commit (``environment.json``).
      rows: the logged numbers (``metrics.jsonl``), in order of step.
      about: what is needed to repeat the final numbers ("about" in ``eval.json``); {} while the run is not finished.
      numbers: the final numbers under their full names (``eval.json``).
      files: by evaluator, the arrays that it left at the step of the final numbers (``media/<step>/eval/``).
    """

    workdir: pathlib.Path
    config: dict[str, Any]
    environment: dict[str, Any]
    rows: list[dict[str, Any]]
    about: dict[str, Any]
    numbers: dict[str, float | None]
    files: dict[str, dict[str, Arrays]]

    @property
    def name(self) -> str:
        """Of the configuration, else of the directory."""
        return str(self.config["name"]) if "name" in self.config else self.workdir.name

    @property
    def evaluators(self) -> tuple[str, ...]:
        """Names of the evaluators that have final numbers, "test" first and "validation" last."""
        names = dict.fromkeys(name.split("/")[1] for name in self.numbers)
        order = {"test": -1, "validation": 1}
        return tuple(sorted(names, key=lambda name: order.get(name, 0)))

    def grid(self, evaluator: str) -> Grid:
        """The final numbers of an evaluator by row and figure; row "" is what was trained itself."""
        grid: Grid = {"": {}}
        prefix = f"eval/{evaluator}/"
        for name, value in self.numbers.items():
            if name.startswith(prefix) and value is not None:
                row, _, figure = name.removeprefix(prefix).rpartition("/")
                grid.setdefault(row, {})[figure] = value
        return grid

    def series(self, prefix: str) -> dict[str, tuple[list[int], list[float]]]:
        """Numbers whose name starts with ``prefix``, over the steps where they are finite: name -> (steps, values)."""
        series: dict[str, tuple[list[int], list[float]]] = {}
        for row in self.rows:
            for name, value in row.items():
                if name.startswith(prefix) and value is not None:
                    steps, values = series.setdefault(name.removeprefix(prefix), ([], []))
                    steps.append(row["step"])
                    values.append(value)
        return series


def read_texts(path: pathlib.Path) -> Arrays:
    """The arrays of a run's file, ids as texts; earlier versions kept bytes, and may have cut them in a letter."""
    try:
        arrays = read_npz(path)
    except Damaged as error:
        raise ValueError(f"{path} is damaged: {error}. Evaluate the run again: --mode=eval.") from error
    texts = {name: np.char.decode(array, "utf-8", "replace") for name, array in arrays.items()
             if array.dtype.kind == "S"}
    return present_figures(arrays | texts)


def read_run(workdir: pathlib.Path | str) -> Run:
    """Reads a run; a directory that holds none is a ``FileNotFoundError``."""
    workdir = pathlib.Path(workdir)
    if not (workdir / "config.json").exists():
        raise FileNotFoundError(f"{workdir} holds no run: config.json is missing. Name a run's --workdir, or train.")
    final = journal.read_eval(workdir) or {"about": {}}
    about = final.pop("about")
    folder = workdir / "media" / f"{about['step']:08d}" / "eval" if about else None
    files: dict[str, dict[str, Arrays]] = {}
    for path in sorted(folder.glob("*/*.npz")) if folder else ():
        files.setdefault(path.parent.name, {})[path.stem] = read_texts(path)
    environment = workdir / "environment.json"
    return Run(
        workdir=workdir, config=stored_config(workdir / "config.json"),
        environment=json.loads(environment.read_text()) if environment.exists() else {},
        rows=[*map(present_figures, journal.read_rows(workdir))], about=about,
        numbers=present_figures(final), files=files,
    )
