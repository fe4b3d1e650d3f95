"""Everything that an accelerator is to be asked, in ten minutes of one: what it costs, and what bounds it.

    python benchmarks/accelerator.py [--output=runs/accelerator] [--resume] [--more] [--parts=machine,tokenizer]
    python benchmarks/accelerator.py --dry_run      # every part at tiny sizes, on whatever is there, in a minute
    python benchmarks/accelerator.py --estimate     # how long it will take on an H200, told on a CPU
    python benchmarks/accelerator.py --document     # docs/record.md from docs/figures/accelerator.json
    python benchmarks/accelerator.py --refresh      # after a change of configs/: the sizes that are measured

From a plain checkout on PYTHONPATH all parts but the last two need jax (0.10 or 0.11), flax, optax and numpy alone;
"PyTorch" needs torch with CUDA, "pipeline" grain and array-record, and each is skipped by name where they lack.

Every part runs in a process of its own, on one device, and is stopped at the part's limit, to which the seconds are
added that parts before it left over. A program that fails or breaks its process is told so in the table, and what comes
after it runs; where one takes until the limit, the next part does. After every program accelerator.json and
accelerator.md are written to the output folder. ``--resume`` leaves out what was measured, and tries what failed last;
``--more`` adds tokenizer and transformer L, rematerialisation and further lowerings, ``--patience=2`` doubles limits.
``--document --output=runs/accelerator`` takes that run's figures over into docs/.
"""

import argparse
import multiprocessing
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from on_device import child  # noqa: E402
from on_device.ledger import FILE, OUTSIDE, Ledger  # noqa: E402

FIGURES, DOCUMENT = ROOT / "docs" / "figures" / FILE, ROOT / "docs" / "record.md"

LIMITS = {"machine": 20, "tokenizer": 180, "transformer": 120, "decoding": 60, "default networks": 60, "PyTorch": 60,
          "pipeline": 30}
"""Seconds of each part, the start of its process included."""


class NoAccelerator(Exception):
    """jax finds none."""


def measure(part: str, limit: float, flags: argparse.Namespace, ledger: Ledger) -> None:
    """Runs a part in a process of its own until it ends or its seconds are over; where one broke, in another."""
    ledger.begin(part)
    end, tried = time.monotonic() + limit, set()
    while attempt(part, end, limit, tried, flags, ledger):
        pass


def attempt(
    part: str, end: float, limit: float, tried: set[str], flags: argparse.Namespace, ledger: Ledger
) -> bool:
    """Runs those programs of a part that were not tried; whether one broke the process, so that others are left."""
    options = {"dry_run": flags.dry_run, "more": flags.more}
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    doing = "start"
    process = context.Process(target=child.run, daemon=True, args=(
        part, child.MODULES[part], options, end - time.monotonic(), ledger.rows, ledger.settled(part) | tried, theirs))
    process.start()
    theirs.close()
    try:
        while True:
            if not ours.poll(max(0.0, end - time.monotonic())):
                record(ledger, part, doing, "stopped", f"at the part's limit of {limit:.3g} s")
                return False
            try:
                kind, value = ours.recv()
            except EOFError:
                break
            if kind == "about":
                identify(ledger, value, flags)
            elif kind == "begin":
                doing = value
                tried.add(value)
            else:
                doing = "end"
                if kind == "row":
                    show(ledger, value)
        process.join(10)
        if doing == "end" and not process.exitcode:
            return False
        record(ledger, part, doing, "failed", f"the process ended with exit code {process.exitcode}")
        return doing not in OUTSIDE
    finally:
        stop(process)
        ours.close()


def identify(ledger: Ledger, about: Mapping[str, Any], flags: argparse.Namespace) -> None:
    """Says what machine it is; refuses a CPU, and several devices, unless it is a dry run."""
    if about["backend"] == "cpu" and not flags.dry_run:
        raise NoAccelerator("jax finds no accelerator here, only a CPU. Install jax with CUDA or for TPUs, or go "
                            "through every part at tiny sizes with --dry_run.")
    if about["devices"] > 1 and not flags.dry_run:
        raise ValueError(f"The figures are of one device, and jax sees {about['devices']}. Show it one: on TPUs "
                         "TPU_PROCESS_BOUNDS=1,1,1 TPU_VISIBLE_CHIPS=0, on AMD's GPUs HIP_VISIBLE_DEVICES=0.")
    ledger.identify(about)


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
    """Of the checkout, "+changes" where files differ from it; None where there is none."""
    try:
        head, changes = (
            subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True).stdout.strip()
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changes else "")


def parts(text: str) -> list[str]:
    """"machine,tokenizer" as a list of parts."""
    names = text.split(",")
    for name in names:
        if name not in LIMITS:
            raise argparse.ArgumentTypeError(f"unknown part {name!r}; the parts are {', '.join(LIMITS)}")
    return names


def patience(text: str) -> float:
    """A factor above 0."""
    factor = float(text)
    if not 0 < factor < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text}; expected a number above 0")
    return factor


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="folder; default: runs/accelerator[-dry_run], and of an "
                        "estimate and a document docs/figures")
    parser.add_argument("--parts", type=parts, default=list(LIMITS), help="default: all")
    parser.add_argument("--patience", type=patience, default=1.0, help="factor on all limits; default: %(default)s")
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
        return document(flags.file)
    ledger = Ledger(flags.file, fresh=not flags.resume)
    ledger.identify({"dry_run": flags.dry_run, "commit": commit()})
    ledger.write()  # what cannot be written is known before anything is measured
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part's process ends too
    spare = 0.0
    for part in flags.parts:
        limit, begin = spare + flags.patience * LIMITS[part], time.monotonic()
        measure(part, limit, flags, ledger)
        spare = max(0.0, limit - (time.monotonic() - begin))
    print(f"{ledger.file}, {ledger.file.with_suffix('.md')}")


def document(file: pathlib.Path) -> None:
    """Puts the figures of a file into docs/, with the estimate that is there where the file has none."""
    from on_device import document as writer

    figures, found = Ledger(FIGURES), Ledger(file, must=True)
    figures.about, figures.rows = found.about, found.rows
    figures.estimate = found.estimate or figures.estimate
    writer.replace(DOCUMENT, figures.contents())
    figures.write()


if __name__ == "__main__":
    try:
        main()
    except (NoAccelerator, ValueError, OSError) as error:
        sys.exit(f"accelerator.py: {error}")
    except KeyboardInterrupt:
        sys.exit("accelerator.py: interrupted; the same command with --resume goes on.")
