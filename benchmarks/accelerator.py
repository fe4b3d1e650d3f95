"""Everything that an accelerator is to be asked, in ten minutes of one: what it costs, and what bounds it.

    python benchmarks/accelerator.py [--output=runs/accelerator] [--resume] [--more] [--parts=machine,tokenizer]
    python benchmarks/accelerator.py --dry_run      # every part at tiny sizes, on whatever is there, in a minute
    python benchmarks/accelerator.py --estimate     # how long it will take on an H200, told on a CPU
    python benchmarks/accelerator.py --document     # docs/results.md from docs/figures/accelerator.json
    python benchmarks/accelerator.py --refresh      # after a change of configs/: the sizes that are measured

From a plain checkout on PYTHONPATH all parts but the last two need jax (0.10 or 0.11), flax, optax and numpy alone;
"PyTorch" needs torch with CUDA, "pipeline" grain and array-record, and each is skipped by name where they lack.

Every part runs in a process of its own, which is stopped at the part's limit; a program that fails, breaks its process
or takes too long is told so in the table, and what comes after it runs. After every program accelerator.json and
accelerator.md are written to the output folder. ``--resume`` leaves out what is in the JSON already, ``--more`` adds
tokenizer and transformer L, rematerialisation and further lowerings, ``--patience=2`` doubles all limits.
"""

import argparse
import json
import multiprocessing
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from on_device import child
from on_device.ledger import FILE, Ledger

ROOT = pathlib.Path(__file__).parents[1]
FIGURES, DOCUMENT = ROOT / "docs" / "figures" / FILE, ROOT / "docs" / "results.md"

LIMITS = {"machine": 20, "tokenizer": 180, "transformer": 120, "decoding": 60, "default networks": 60, "PyTorch": 60,
          "pipeline": 30}
"""Seconds of each part, the start of its process included."""


class NoAccelerator(Exception):
    """jax finds none."""


def measure(part: str, flags: argparse.Namespace, ledger: Ledger) -> None:
    """Runs a part in a process of its own until it ends or its time is over."""
    limit = flags.patience * LIMITS[part]
    options = {"dry_run": flags.dry_run, "more": flags.more}
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child.run, daemon=True, args=(
        part, child.MODULES[part], options, limit, ledger.rows, ledger.settled(part), theirs))
    ledger.begin(part)
    end, doing = time.monotonic() + limit, "start"
    process.start()
    theirs.close()
    try:
        while True:
            if not ours.poll(max(0.0, end - time.monotonic())):
                record(ledger, part, doing, "stopped", f"at the part's limit of {limit:g} s")
                return
            try:
                kind, value = ours.recv()
            except EOFError:
                break
            if kind == "about":
                identify(ledger, value, flags)
            elif kind == "begin":
                doing = value
            else:
                doing = "end"
                if kind == "row":
                    show(ledger, value)
        process.join(10)
        if doing != "end" or process.exitcode:
            record(ledger, part, doing, "failed", f"the process ended with exit code {process.exitcode}")
    finally:
        stop(process)
        ours.close()


def identify(ledger: Ledger, about: Mapping[str, Any], flags: argparse.Namespace) -> None:
    """Says what machine it is; refuses a CPU unless it is a dry run."""
    if about["backend"] == "cpu" and not flags.dry_run:
        raise NoAccelerator("jax finds no accelerator here, only a CPU. Install jax with CUDA or for TPUs, or go "
                            "through every part at tiny sizes with --dry_run.")
    ledger.identify({**about, "dry_run": flags.dry_run, "commit": commit()})


def record(ledger: Ledger, part: str, name: str, status: str, why: str) -> None:
    """Notes a program without figures."""
    show(ledger, {"part": part, "name": name, "status": status, "why": why})


def show(ledger: Ledger, row: Mapping[str, Any]) -> None:
    """Puts a row in the files, and prints it."""
    from on_device import document

    ledger.add(row)
    ledger.file.with_suffix(".md").write_text(document.section(ledger.contents()))
    print(document.brief(row), flush=True)


def stop(process: multiprocessing.Process) -> None:
    """Ends a process, whatever it does."""
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(5)


def commit() -> str | None:
    """Of the checkout, None where there is none."""
    try:
        run = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()


def parts(text: str) -> list[str]:
    """"machine,tokenizer" as a list of parts."""
    names = text.split(",")
    for name in names:
        if name not in LIMITS:
            raise argparse.ArgumentTypeError(f"unknown part {name!r}; the parts are {', '.join(LIMITS)}")
    return names


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="folder; default: runs/accelerator[-dry_run], and of an "
                        "estimate and a document docs/figures")
    parser.add_argument("--parts", type=parts, default=list(LIMITS), help="default: all")
    parser.add_argument("--patience", type=float, default=1.0, help="factor on all limits; default: %(default)s")
    for name in ("resume", "more", "dry_run", "estimate", "document", "refresh"):
        parser.add_argument(f"--{name}", action="store_true")
    flags = parser.parse_args(arguments)
    flags.file = FIGURES if flags.estimate or flags.document else pathlib.Path(
        "runs", "accelerator-dry_run" if flags.dry_run else "accelerator", FILE)
    if flags.output:
        flags.file = flags.output / FILE
    return flags


def estimate(flags: argparse.Namespace) -> None:
    """Writes how long each part is expected to take beside the figures that there are."""
    from videogvt.core.backend import prepare_backend

    prepare_backend("off")
    from on_device.estimate import expected

    for part in flags.parts:
        ledger = Ledger(flags.file)
        row = expected(part, LIMITS[part])
        ledger.estimate = {name: {**ledger.estimate, part: row}[name] for name in LIMITS
                           if name in {**ledger.estimate, part: row}}
        ledger.write()
        print(f"{part}: {row['seconds']:,.0f} s of {LIMITS[part]}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    flags = parse(arguments)
    if flags.refresh:
        child.prepare("default networks", cached=True)
        from on_device.refresh import refresh

        return refresh()
    if flags.estimate:
        return estimate(flags)
    if flags.document:
        from on_device import document

        return document.replace(DOCUMENT, json.loads(flags.file.read_text()))
    ledger = Ledger(flags.file, fresh=not flags.resume)
    for part in flags.parts:
        measure(part, flags, ledger)
    print(f"{ledger.file}, {ledger.file.with_suffix('.md')}")


if __name__ == "__main__":
    try:
        main()
    except (NoAccelerator, ValueError) as error:
        sys.exit(f"accelerator.py: {error}")
