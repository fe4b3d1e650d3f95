"""The figures as a section of docs/record.md: every program that there is, "not measured" where it was not."""

import importlib
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from on_device.child import MODULES
from on_device.decoders import BATCHES, ONE_BY_ONE, STEPS
from on_device.job import Bench, Row

BEGIN = "<!-- accelerator: written by benchmarks/accelerator.py --document, not by hand -->"
END = "<!-- accelerator: end -->"

TITLES = {
    "machine": "The machine's ceilings: products of random matrices, and copies.",
    "tokenizer": "Tokenizer B (`configs/vqvae_traj.py:B`), clips of 16 x 128 x 128, bfloat16.",
    "transformer": "Masked transformer B (`configs/maskgvt_traj.py:B`) on 1,024 codes and a class, bfloat16.",
    "decoding": "From noise to 1,024 codes, networks of B's size, bfloat16.",
    "default networks": "The networks of two cores, trained; losses beside those of a CPU at equal steps.",
    "PyTorch": "A plain PyTorch network of tokenizer B's shape, bfloat16 by autocast.",
    "pipeline": "Clips of 16 x 128 x 128 from ArrayRecord through the training pipeline.",
}


def _range(row: Row) -> str:
    if "difference" in row and "ms" not in row:
        return f"off by {row['difference']:.1e}"
    return f"{row['ms']:,.4g} ({row['ms_low']:,.4g} to {row['ms_high']:,.4g})"


def _of(key: str, form: str, unit: float = 1.0) -> Callable[[Row], str]:
    return lambda row: "–" if row.get(key) is None else form.format(row[key] / unit)


def bound(row: Row) -> str:
    """What a program comes nearer to, of the ceilings that it reaches by half."""
    if "matrix_share" not in row:
        return "–"
    shares = {name: row.get(f"{name}_share") or 0.0 for name in ("matrix", "copy")}
    nearest = max(shares, key=shares.__getitem__)
    return nearest if shares[nearest] >= 0.5 else "neither"


TIMED = {
    "clips": _of("clips", "{:,.0f}"), "ms (range)": _range, "clips/s": _of("clips_per_s", "{:,.4g}"),
    "ms a frame": _of("ms_per_frame", "{:.3g}"), "TFLOP": _of("gflop", "{:,.4g}", 1e3),
    "of matrix ceiling": _of("matrix_share", "{:.1%}"), "of copy ceiling": _of("copy_share", "{:.1%}"),
    "bound by": bound, "memory, GiB": _of("memory", "{:,.2f}", 2**30), "compiles in s": _of("compile_s", "{:,.1f}"),
}
COLUMNS: Mapping[str, Mapping[str, Callable[[Row], str]]] = {
    "machine": {"rate": lambda row: f"{row['rate'] / 1e9:,.0f} " + (
        "GB/s" if row["name"].startswith("copy") else "GFLOP/s")},
    "tokenizer": TIMED, "transformer": TIMED, "decoding": TIMED,
    "default networks": {
        "clips": _of("clips", "{:,.0f}"), "ms a step (range)": _range, "steps": _of("steps", "{:,.0f}"),
        "in s": _of("seconds", "{:,.0f}"), "steps compared": _of("compared", "{:,.0f}"),
        "first loss off by": _of("difference_first", "{:.1e}"), "window off by": _of("difference", "{:.2%}"),
        "agrees": lambda row: "yes" if row["agrees"] else "**no**", "last loss": _of("loss_last", "{:.4g}"),
        "of matrix ceiling": _of("matrix_share", "{:.2%}"),
    },
    "PyTorch": {name: TIMED[name] for name in ("clips", "ms (range)", "clips/s", "of matrix ceiling", "memory, GiB")},
    "pipeline": {name: TIMED[name] for name in ("clips", "ms (range)", "clips/s")},
}


def section(found: Mapping[str, Any]) -> str:
    """The section of a ledger's contents, between its markers."""
    parts = [BEGIN, "## On an accelerator", COMMAND, "\n".join(_machine(found["about"]))]
    for part in MODULES:
        rows = {row["name"]: row for row in found["rows"] if row["part"] == part}
        parts.append(TITLES[part])
        parts.append(_table(part, {name: rows.get(name) for name in dict.fromkeys((*_programs(part), *rows))}))
        parts.extend(SUMMARIES.get(part, lambda found: [])(found))
    parts.extend(_estimate(found["estimate"]))
    return "\n\n".join([*parts, END]) + "\n"


COMMAND = """```bash
python benchmarks/accelerator.py                 # every part; then --resume --more for L and further variants
python benchmarks/accelerator.py --estimate      # the minutes below
```

Times are medians with the fastest and slowest call, of untrained networks; a step has its batch's way to the device in
it. Shares are of the ceilings in the first table, a program's products counted from its network, whatever computes them
(`videogvt/recipes/flops.py`). A program is bound by the ceiling that it comes nearest to and reaches by half."""


def _machine(about: Mapping[str, Any]) -> Iterator[str]:
    if "device" not in about:
        yield ("**Not measured: no accelerator was at hand.** What a CPU can run of all this is run at tiny sizes in "
               "the tests.")
        return
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    yield (f"{about['devices']} x {about['device']}, driver {about['driver']}, {about['runtime'].splitlines()[0]}, "
           f"Python {about['python']}, {packages}; commit {about.get('commit')}.")


def _programs(part: str) -> list[str]:
    """Names of all programs of a part, the further ones left out."""
    module = importlib.import_module(MODULES[part])
    return [job.name for job in module.jobs(Bench(dry_run=False, more=False, deadline=0.0))]


def _table(part: str, rows: Mapping[str, Row | None]) -> str:
    columns = COLUMNS[part]
    lines = [["", *columns]]
    for name, row in rows.items():
        if row and row["status"] == "measured":
            lines.append([name, *(show(row) for show in columns.values())])
        else:
            why = f": {row['status']}, {row['why']}" if row else ""
            lines.append([name, f"not measured{why}".replace("|", "/"), *["–"] * (len(columns) - 1)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _measured(found: Mapping[str, Any], part: str, name: str) -> Row | None:
    return Bench(dry_run=False, more=False, deadline=0.0, rows=found["rows"]).found(part, name)


def _decoding(found: Mapping[str, Any]) -> Iterator[str]:
    """How many times faster 12 steps are."""
    for batch in BATCHES:
        slow = _measured(found, "decoding", f"{ONE_BY_ONE}, batch {batch}")
        for name in (STEPS, f"{STEPS} by cuDNN"):
            fast = _measured(found, "decoding", f"{name}, batch {batch}")
            if slow and fast:
                yield f"{name} are {slow['ms'] / fast['ms']:.1f} times faster at batch {batch}."


def _pipeline(found: Mapping[str, Any]) -> Iterator[str]:
    """How the pipeline's rate stands beside the best that B trains at."""
    trained = [row["clips_per_s"] for row in found["rows"]
               if row["part"] == "tokenizer" and row["name"].startswith("train step") and row["status"] == "measured"]
    read = [row["clips_per_s"] for row in found["rows"] if row["part"] == "pipeline" and row["status"] == "measured"]
    if trained and read:
        yield (f"The fastest reads {max(read) / max(trained):.1f} times as many clips a second as tokenizer B trains "
               f"on at best ({max(trained):,.4g}).")


SUMMARIES: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {"decoding": _decoding, "pipeline": _pipeline}


def _estimate(estimate: Mapping[str, Any]) -> Iterator[str]:
    """What the parts are expected to take on an H200."""
    if not estimate:
        return
    yield ("What it is expected to take on an H200, before one was tried: tracing and compiling as many seconds as "
           "they take of a CPU's core, calls as long as their FLOP do at a share of the chip's rate, a quarter of it "
           "for tokenizers and two fifths for transformers; parts that compile nothing here are taken to need fixed "
           "times. A part gets what those before it leave over, and `--resume` goes on with what was not reached.")
    lines = [["part", "programs", "tracing and compiling, s", "in all, s", "as limited, s", "limit, s"], ["---"] * 6]
    for part, row in estimate.items():
        numbers = (f"{row[name]:,.0f}" for name in ("compile_s", "unlimited_s", "seconds", "limit_s"))
        lines.append([part, str(row["programs"]), *numbers])
    total = sum(row["seconds"] for row in estimate.values())
    limits = sum(row["limit_s"] for row in estimate.values())
    lines.append(["in all", "", "", "", f"{total:,.0f}, {total / 60:.1f} minutes", f"{limits:,.0f}"])
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace(document: pathlib.Path, found: Mapping[str, Any]) -> None:
    """Puts the section of these figures in the place of the one in a document.

    Raises:
      ValueError: the figures are of a dry run or of no known machine, or the document has no place for them.
    """
    if found["about"].get("dry_run"):
        raise ValueError("These figures are of a dry run, which says nothing; they do not go into a document.")
    if found["rows"] and "device" not in found["about"]:
        raise ValueError("These figures do not say which machine they are of; measure the part 'machine' too.")
    text = document.read_text()
    place = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END) + "\n", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise ValueError(f"{document} has no section from {BEGIN!r} to {END!r}; put both lines where it belongs.")
    document.write_text(place.sub(lambda _: section(found), text))


def brief(row: Row) -> str:
    """A row in one line, for the terminal."""
    if row["status"] != "measured":
        return f"{row['part']}: {row['name']}: {row['status']}: {row['why']}"
    shown = {name: show(row) for name, show in COLUMNS[row["part"]].items()}
    told = ", ".join(f"{name} {text}" for name, text in shown.items() if text != "–")
    return f"{row['part']}: {row['name']}: {told}"

