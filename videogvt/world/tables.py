"""The tables of docs/world.md, made from the code: ``python -m videogvt.world.tables docs/world.md`` writes them."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from videogvt.world.example import FIELDS
from videogvt.world.families import FAMILIES
from videogvt.world.motion import Range
from videogvt.world.scene import DRAWS, HELD_OUT
from videogvt.world.spec import SPECS, WorldSpec


def _table(*rows: tuple) -> str:
    head, *body = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def field_table() -> str:
    """Every field of an example."""
    rows = []
    for name, field in FIELDS.items():
        shape = "(" + ", ".join(str(size) for size in field.shape) + ")" if field.shape else "scalar"
        low, high = ("" if bound is None else bound for bound in field.range)
        bounds = f"{low} to {high}" if high != "" else (f"from {low}" if low != "" else "any")
        rows.append((f"`{name}`", shape, field.dtype, field.unit, bounds, field.doc))
    return _table(("field", "shape", "dtype", "unit", "range", "what it is"), *rows)


def _ranges(ranges: Mapping[str, Range]) -> list[tuple]:
    return [(f"`{name}`", f"{r.low:g} to {r.high:.4g}", r.unit, r.doc) for name, r in ranges.items()]


def family_table() -> str:
    """Every family's motion and free parameters."""
    rows = []
    for name, family in FAMILIES.items():
        labels = [(f"`{name}`", family.__doc__.splitlines()[0].rstrip("."))] + [("", "")] * len(family.ranges)
        rows += [(*label, *row) for label, row in zip(labels, _ranges(family.ranges))]
    return _table(("family", "motion", "parameter", "range", "unit", "meaning"), *rows)


def draw_table() -> str:
    """What is drawn before the class."""
    held = {name: f"{r.low:g} to {r.high:g}" for name, r in HELD_OUT.items()}
    rows = [(*row[:2], held.get(name, "the same"), *row[2:]) for name, row in zip(DRAWS, _ranges(DRAWS))]
    return _table(("drawn", "range", "in `ood`", "unit", "meaning"), *rows)


def spec_table() -> str:
    """Every shipped spec and how it differs from the default."""
    rows = []
    for name, spec in SPECS.items():
        video = f"{spec.num_frames}x{spec.height}x{spec.width}, {spec.fps:g} fps"
        own = {key: getattr(spec, key) for key in ("rig", "background", "trail", "motion_blur", "sensor_noise",
               "distractors", "occluders", "measurement_noise", "tail")}  # fmt: skip
        differs = [f"{key} {value}" for key, value in own.items() if value != getattr(WorldSpec, key)]
        splits = ", ".join(f"{split} {size:,}" for split, size in spec.splits)
        rows.append((f"`{name}`", video, spec.num_cameras, ", ".join(spec.families), "; ".join(differs), splits))
    return _table(("spec", "video", "cameras", "families", "differs in", "examples"), *rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "specs": spec_table, "fields": field_table, "families": family_table, "draws": draw_table,
}  # fmt: skip


def with_tables(text: str) -> str:
    """``text`` with the table between each pair of marks ``<!-- NAME -->`` and ``<!-- end -->`` made anew."""
    for name, table in TABLES.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(text):
            raise ValueError(f"The text has no place for the table {name!r}: put <!-- {name} --> and <!-- end -->.")
        text = mark.sub(lambda match, made=table(): match[1] + made + "\n" + match[2], text)
    return text


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text()))
