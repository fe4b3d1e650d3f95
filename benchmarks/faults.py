"""What a run survives: it is killed, told to stop, left without disk and given numbers that are none, and goes on.

    python benchmarks/faults.py [--kills=20] [--seed=0] [--folder=DIR] [--phases=building,training,...] [--no-others]

One run of a small tokenizer goes through undisturbed: its data set is built, it trains, saves and evaluates, and the
codes of its clips are written. Others of the same config are killed (SIGKILL) again and again, each time in another
phase at a random moment, and started again by the same command; when a run has been killed in all phases, the next one
begins. At the end each must equal the undisturbed one: weights, averages and moments of the last checkpoint bit for
bit, every row of numbers but its seconds, the final numbers, every picture, every example and every code.

Then: SIGTERM, a disk that is full (a tmpfs, where one can be mounted), a batch with a NaN, and a second command in the
same directory. Each must end as documented, and the run that is taken up afterwards must be the same again.
"""

import argparse
import contextlib
import hashlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np

from videogvt.core.backend import prepare_backend

prepare_backend()

from videogvt.train.checkpoint import FOLDER, NUMBERS, finished_steps, load_weights  # noqa: E402
from videogvt.train.journal import read_eval, read_rows  # noqa: E402
from videogvt.train.lock import LOCK  # noqa: E402
from videogvt.train.state import SAVED_FIELDS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEPS, EVALUATED = 12, 4
FLAGS = ("--config=configs/vqvae_traj.py:tiny", f"--config.train.steps={STEPS}", "--config.train.save_every=3",
         f"--config.evals.every={EVALUATED}")
PATIENCE_S = 1200
"""Of a machine that does other things too."""


class Place:
    """Where a run and its data lie."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.workdir, self.data = folder, folder / "run", folder / "data"
        self.log_file = "log"

    def start(self, *flags: str, program: tuple[str, ...] = ("run.py",)) -> subprocess.Popen:
        """The command, its output in a file."""
        command = [sys.executable, *program, *FLAGS, f"--workdir={self.workdir}", f"--data_dir={self.data}", *flags]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / self.log_file).open("w") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return (self.folder / self.log_file).read_text()

    def finish(self, *flags: str) -> None:
        """The command to its end."""
        code = self.start(*flags).wait(PATIENCE_S)
        if code:
            raise RuntimeError(f"The command ended with {code} in {self.folder}:\n{self.log[-3000:]}")


def trained(place: Place) -> int:
    """The last step whose numbers are on disk."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return max((row["step"] for row in read_rows(place.workdir)), default=0)
    return 0


def judged(place: Place, step: int) -> bool | None:
    """Whether a checkpoint has its numbers; None as long as it is not there."""
    folder = place.workdir / FOLDER / str(step)
    return (folder / NUMBERS).exists() if folder.exists() else None


def moments(place: Place, draw: random.Random) -> dict[str, tuple[Callable[[], bool], float]]:
    """By phase, what shows that it has begun, and how many seconds later the kill comes at most."""
    row, saved = draw.randint(1, 4), draw.choice((6, 8))
    return {
        "building": (lambda: any(place.data.glob("trajectories/*/incomplete.*")), 0.6),
        "training": (lambda: trained(place) >= row, 0.05),
        "saving": (lambda: any((place.workdir / FOLDER).glob(f"{saved}.*tmp*")), 0.05),
        "evaluating": (lambda: judged(place, STEPS) is False, 0.5),
        "measuring": (lambda: bool(judged(place, STEPS)), 0.5),
        "tokenizing": (lambda: any(place.data.glob("codes/**/incomplete.*")), 0.2),
    }


PHASES = tuple(moments(Place(pathlib.Path()), random.Random(0)))


def kill(place: Place, phase: str, draw: random.Random) -> str:
    """Starts the command and kills it in a phase; says what it was doing."""
    begun, most = moments(place, draw)[phase]
    wait = draw.uniform(0, most)
    process = place.start(*(("--mode=tokenize",) if phase == "tokenizing" else ()))
    _wait_for(begun, process, place)
    time.sleep(wait)
    over = process.poll() is not None
    process.kill()
    process.wait()
    steps = finished_steps(place.workdir)
    what = f"{phase}, {1e3 * wait:.0f} ms on: step {trained(place)} written, {steps[-1] if steps else 0} saved"
    return what + (" (it had just ended by itself)" if over else "")


def everything(place: Place) -> dict[str, object]:
    """What has to be equal, by name."""
    weights = load_weights(place.workdir, "last", SAVED_FIELDS)
    flat = {f"weights {name}": _digest(leaf) for name, leaf in _leaves(weights)}
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(place.workdir)]
    found = read_eval(place.workdir)
    media = place.workdir / "media"
    files = {f"media {path.relative_to(media)}": _digest(path) for path in sorted(media.rglob("*")) if path.is_file()}
    for manifest in sorted(place.data.rglob("manifest.json")):
        splits = json.loads(manifest.read_text())["splits"]
        files |= {f"{manifest.parent.name} {split}": told["content_sha256"] for split, told in splits.items()}
    return flat | files | {"rows": rows, "numbers": {key: found[key] for key in found if key != "about"}}


def _leaves(tree: object, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, dict | list | tuple):
        for key, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(branch, f"{name}/{key}")
    elif tree is not None:
        yield name, np.asarray(tree)


def _digest(content: np.ndarray | pathlib.Path) -> str:
    data = content.read_bytes() if isinstance(content, pathlib.Path) else content.tobytes()
    return hashlib.sha256(data).hexdigest()


def differences(place: Place, whole: dict[str, object]) -> list[str]:
    """Names of what is not equal, and of what was left lying about."""
    found = everything(place)
    wrong = sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))
    if (place.workdir / LOCK).exists():
        wrong.append("a lock is left")
    return wrong + [str(path) for path in place.folder.rglob("*incomplete*")]


def killed_runs(
    kills: int, phases: list[str], folder: pathlib.Path, whole, draw: random.Random
) -> Iterator[tuple[str, list[str]]]:
    """Kills in all phases in turn, a new run when each had its own; yields the moments and what was wrong then."""
    for first in range(0, kills, len(phases)):
        place = Place(folder / f"killed-{first // len(phases)}")
        said = []
        for phase in phases[: kills - first]:
            if phase == "tokenizing":
                place.finish()
            said.append(kill(place, phase, draw))
        place.finish()
        place.finish("--mode=tokenize")
        wrong = differences(place, whole)
        yield from ((moment, wrong) for moment in said)


def terminated(place: Place, whole, draw: random.Random) -> tuple[str, list[str]]:
    """SIGTERM at a random row: exit code 143, a sentence, and the same run."""
    row = draw.randint(1, STEPS - 2)
    process = place.start()
    _wait_for(lambda: trained(place) >= row, process, place)
    process.send_signal(signal.SIGTERM)
    code = process.wait(PATIENCE_S)
    wrong = [] if code == 143 and "Stopped at step" in place.log else [f"exit code {code}"]
    return f"after row {row}: exit code {code}", wrong + _taken_up(place, whole)


def second(place: Place, whole, draw: random.Random) -> tuple[str, list[str]]:
    """The same command while the first one runs: it is refused by name, and the first goes on to its end."""
    first = place.start()
    _wait_for(lambda: (place.workdir / LOCK).exists(), first, place)
    first.send_signal(signal.SIGSTOP)  # so that it is there for as long as it takes
    other = Place(place.folder)
    other.log_file = "log of the second"
    code = other.start().wait(PATIENCE_S)
    first.send_signal(signal.SIGCONT)
    refused = code != 0 and f"is in use by process {first.pid} on host" in other.log
    wrong = [] if refused else [f"the second command ended with {code}: {other.log[-300:]}"]
    if first.wait(PATIENCE_S):
        wrong.append(f"the first one ended with {first.returncode}")
    return "while the first runs: refused", wrong + _taken_up(place, whole)


def full_disk(place: Place, whole, draw: random.Random) -> tuple[str, list[str]]:
    """A directory on a tmpfs that is too small for the checkpoints, which then grows."""
    place.workdir.mkdir(parents=True)
    size = draw.randint(600, 900)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place.workdir)]
    tried = subprocess.run(mount, capture_output=True, text=True)
    if tried.returncode:
        return f"not tried: {tried.stderr.strip()}", []
    try:
        code = place.start().wait(PATIENCE_S)
        told = any(text in place.log for text in ("No space is left in", "No space left on device"))
        wrong = [] if code and told else [f"exit code {code}: {place.log[-300:]}"]
        subprocess.run(["mount", "-o", "remount,size=64m", str(place.workdir)], check=True)
        return f"{size} KiB: exit code {code}, then room", wrong + _taken_up(place, whole)
    finally:
        subprocess.run(["umount", str(place.workdir)], check=True)


POISONED = """
import runpy, sys
import numpy as np
from videogvt.core.backend import use_huge_pages
from videogvt.inputs import training
real, at = training.TrainingData.train, int(sys.argv.pop(1))

class Poisoned:
    def __init__(self, batches):
        self.batches, self.get_state, self.set_state = batches, batches.get_state, batches.set_state

    def __next__(self):
        batch = next(self.batches)
        if self.get_state()["next_index"] == at:
            batch["video"] = np.full(batch["video"].shape, np.nan, np.float32)
        return batch

training.TrainingData.train = lambda self: Poisoned(real(self))
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""


def not_a_number(place: Place, whole, draw: random.Random) -> tuple[str, list[str]]:
    """A batch of NaN: the run stops and names it, its batch is kept, and what is saved is sound."""
    step = draw.randint(2, STEPS)
    code = place.start(program=("-c", POISONED, str(step))).wait(PATIENCE_S)
    kept = (place.workdir / f"nonfinite_step_{step}.npz").exists()
    wrong = [] if code and kept and f"Step {step}: " in place.log else [f"exit code {code}: {place.log[-300:]}"]
    saved = finished_steps(place.workdir)
    if saved and saved[-1] >= step:
        wrong.append(f"step {saved[-1]} was saved")
    return f"in step {step}: exit code {code}, {saved[-1] if saved else 0} saved", wrong + _taken_up(place, whole)


def _wait_for(what: Callable[[], bool], process: subprocess.Popen, place: Place) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise RuntimeError(f"What was waited for never came in {place.folder}:\n{place.log[-3000:]}")
        time.sleep(0.001)


def _taken_up(place: Place, whole) -> list[str]:
    place.finish()
    place.finish("--mode=tokenize")
    return differences(place, whole)


OTHERS = {"SIGTERM": terminated, "full disk": full_disk, "NaN": not_a_number, "second": second}


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    """Runs all, prints a line for each fault, and returns them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    parser.add_argument("--phases", default=",".join(PHASES), help="default: %(default)s")
    parser.add_argument("--folder", help="kept afterwards; default: a new one that goes")
    parser.add_argument("--others", action=argparse.BooleanOptionalAction, default=True, help="the other faults too")
    options = parser.parse_args(arguments)
    draw, rows = random.Random(options.seed), []

    def note(fault: str, moment: str, wrong: list[str]) -> None:
        rows.append({"fault": fault, "moment": moment, "wrong": wrong})
        end = f"WRONG: {', '.join(wrong)[:300]}" if wrong else "as it should"
        print(f"{fault:<10} {moment:<72} {end}", flush=True)

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory())).absolute()
        undisturbed = Place(folder / "undisturbed")
        undisturbed.finish()
        undisturbed.finish("--mode=tokenize")
        whole = everything(undisturbed)
        for moment, wrong in killed_runs(options.kills, options.phases.split(","), folder, whole, draw):
            note("kill -9", moment, wrong)
        for name, fault in OTHERS.items() if options.others else ():
            note(name, *fault(Place(folder / name.replace(" ", "_")), whole, draw))
    failed = sum(bool(row["wrong"]) for row in rows)
    print(f"{len(rows)} faults, {failed} not as they should; {len(whole)} things compared after each run")
    return rows


if __name__ == "__main__":
    sys.exit(any(row["wrong"] for row in main()))
