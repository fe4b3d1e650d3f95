"""The figures of a run of the benchmark, on disk after every program."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
FILE = "accelerator.json"
OUTSIDE = ("start", "end")
"""Names of rows that say how a part's process began or ended where no program was running."""

SAME = ("device", "devices", "dry_run", "jax")
"""What must not change when a run is taken up again."""


class Ledger:
    """Rows by part and name, and what machine they are of.

    Args:
      file: JSON, which is read if it is there.
      fresh: whether to begin anew; what was measured before is kept beside it, in ``.old.json``, but for the estimate.
      must: whether the file has to be there.

    Attributes:
      about: the machine; {} before anything ran.
      rows: in the order in which they were measured. "status" is "measured", "skipped", "failed" or "stopped"; all but
        the first have a "why".
      estimate: seconds that each part is expected to take, {} where none was made.
    """

    def __init__(self, file: pathlib.Path, fresh: bool = False, must: bool = False):
        self.file = file
        found = self._read() if must or file.exists() else {}
        if fresh and found.get("rows"):
            os.replace(file, file.with_suffix(".old.json"))
            found = {"estimate": found.get("estimate", {})}
        self.about: dict[str, Any] = found.get("about", {})
        self.rows: list[dict[str, Any]] = found.get("rows", [])
        self.estimate: dict[str, Any] = found.get("estimate", {})

    def identify(self, about: Row) -> None:
        """Says what machine the next rows are of.

        Raises:
          ValueError: rows of another are here.
        """
        told = {"jax": about["packages"].get("jax"), **about} if "packages" in about else about
        if self.rows:
            for name in self.about.keys() & told.keys() & set(SAME):
                if self.about[name] != told[name]:
                    raise ValueError(self._mixed(name, self.about[name], told[name]))
        self.about = {**self.about, **told}

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file.read_text())
        except ValueError as error:
            raise ValueError(f"{self.file} is no JSON ({error}). Give another --output, or remove it.") from error
        if not isinstance(found, dict):
            raise ValueError(f"{self.file} holds no figures of this benchmark. Give another --output, or remove it.")
        return found

    def _mixed(self, what: str, old: Any, new: Any) -> str:
        return (f"{self.file} has figures of {what} = {old!r}, and this is {what} = {new!r}. Give another --output, or "
                "leave --resume out to begin anew.")

    def settled(self, part: str) -> set[str]:
        """Programs of a part that were measured."""
        return {row["name"] for row in self.rows if row["part"] == part and row["status"] == "measured"}

    def add(self, row: Row) -> None:
        """Puts a row in, in the place of an earlier one of the same program, and writes the file."""
        key = row["part"], row["name"]
        self.rows = [old for old in self.rows if (old["part"], old["name"]) != key]
        self.rows.append({**row, "commit": self.about.get("commit")})
        self.write()

    def begin(self, part: str) -> None:
        """Forgets how a part's process ended before."""
        kept = [row for row in self.rows if row["part"] != part or row["name"] not in OUTSIDE]
        if len(kept) < len(self.rows):
            self.rows = kept
            self.write()

    def contents(self) -> dict[str, Any]:
        """What the file holds."""
        return {"about": self.about, "rows": self.rows, "estimate": self.estimate}

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(self.contents(), indent=1) + "\n")
        os.replace(draft, self.file)
