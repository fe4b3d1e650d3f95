"""Random edits of configs: each has to end in success or in one clear message, with nothing left half-written.

    python benchmarks/edits.py [--count=300] [--first=0] [--processes=15] [--seed=0] [--home=DIR] [--train=10]

Every edit changes one key of a shipped config's tiny variant: misspelt, of another type, out of range, or missing; by a
flag, or in a copy of the config file. It is then given to ``run.main``: every ``train``-th is trained, the others are
planned, which makes and traces all that a training makes. So many ``processes`` at the end are real ones. An edit fails
where anything but a return or a ``SystemExit`` of code 2 with a single message comes out, or where files are left
behind by what was refused. Exit code 1 if one fails.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from absl.testing import flagsaver  # noqa: E402

import run  # noqa: E402
from videogvt.command import load_config  # noqa: E402
from videogvt.core.keys import Key, Section, fits  # noqa: E402
from videogvt.jobs.schema import schema_of  # noqa: E402

CONFIGS = ("vqvae_traj:tiny", "vqvae_videos:tiny", "vqvae2d_images:tiny", "maskgvt_traj:tiny", "lmgvt_traj:tiny",
           "classifier_traj:judge_tiny", "classifier_traj:tiny")
KINDS = ("misspelt", "wrong type", "out of range", "missing")
VALUES = ("many", 1.5, True, None, (1, 2), {"a": 1}, "", -3, [["x"]])
WORLD = "data.options.config"  # without it a whole world is built
LETTERS = "abcdefghijklmnopqrstuvwxyz_"

COPY = """\
import importlib.util

from ml_collections import ConfigDict


def get_config():
    spec = importlib.util.spec_from_file_location("shipped", {path!r})
    shipped = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shipped)
    config = shipped.get_config({variant!r})
    part = config
    for name in {sections!r}:
        if name not in part or part[name] is None:
            part[name] = ConfigDict()
        part = part[name]
    with part.ignore_type():
        {change}
    return config
"""


@dataclasses.dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes:
      config: file and variant, such as "vqvae_traj:tiny".
      kind: one of ``KINDS``.
      path: the dotted key.
      value: its new value; no sense where it is missing.
      in_file: whether a copy of the file has it, or the command line.
    """

    config: str
    kind: str
    path: str
    value: Any
    in_file: bool

    def __str__(self) -> str:
        value = "" if self.kind == "missing" else f" = {self.value!r}"
        return f"{self.config} {self.kind}: {self.path}{value}{' (in the file)' if self.in_file else ''}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an edit.

    Attributes:
      ended: "success", "refused" or "failed".
      said: the message, or what went wrong.
    """

    ended: str
    said: str


def keys_in(section: Section, path: str = "") -> Iterator[tuple[str, Key | Section]]:
    """All keys and sections of a schema by dotted name."""
    for name, key in section.keys.items():
        yield path + name, key
        if isinstance(key, Section):
            yield from keys_in(key, f"{path}{name}.")


def there(config: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """All keys and sections that a config has."""
    for name, value in config.items():
        yield path + name
        if isinstance(value, Mapping):
            yield from there(value, f"{path}{name}.")


def draw(number: int, seed: int = 0) -> Edit:
    """The edit of that number."""
    rng = random.Random(f"{seed}/{number}")
    config, kind = CONFIGS[number % len(CONFIGS)], rng.choice(KINDS)
    name, _, variant = config.partition(":")
    plain = load_config(f"{ROOT}/configs/{name}.py:{variant}").to_dict()
    every = list(keys_in(schema_of(plain)))
    if kind == "missing":
        return Edit(config, kind, rng.choice([path for path in there(plain) if path != WORLD]), None, True)
    if kind == "misspelt":
        path = rng.choice(every)[0]
        return Edit(config, kind, misspelt(path, rng), rng.choice((1, "a", 0.5)), rng.random() < 0.5)
    keys = [(path, key) for path, key in every if isinstance(key, Key)]
    if kind == "wrong type":
        path, key = rng.choice(keys)
        value = rng.choice([value for value in VALUES if not fits(key.kind, value)] or ["many"])
    else:
        path, key = rng.choice([(path, key) for path, key in keys if fits(key.kind, 1) or fits(key.kind, (1, 1, 1))])
        value = rng.choice((-1, 0, 3, 7, -0.5, 1.5, float("nan"), 10**12 if key.limits and key.limits.maximum else 2))
        value = (value,) * 3 if not fits(key.kind, 1) else value
    return Edit(config, kind, path, value, rng.random() < 0.5)


def misspelt(path: str, rng: random.Random) -> str:
    """The path with a letter too many, too few or of another kind in one of its names."""
    names = path.split(".")
    place = rng.randrange(len(names))
    name = names[place]
    at = rng.randrange(len(name))
    wrong = rng.choice((name[:at] + rng.choice(LETTERS) + name[at:], name[:at] + name[at + 1:] or "x",
                        name[:at] + rng.choice(LETTERS) + name[at + 1:]))
    if wrong == name:
        return misspelt(path, rng)
    names[place] = wrong
    return ".".join(names)


class Workshop:
    """A place with what the tiny variants need: clips, pictures and a tokenizer that was not trained.

    Args:
      home: a folder of its own.
    """

    def __init__(self, home: pathlib.Path):
        self.home, self.data = home, home / "data"
        home.mkdir(parents=True, exist_ok=True)
        self._make_pictures()
        self._make_tokenizer()

    def arguments(self, edit: Edit, mode: str, workdir: pathlib.Path) -> list[str]:
        """The command line of an edit; a copy of the config is written where it is in the file."""
        name, _, variant = edit.config.partition(":")
        config = f"{ROOT}/configs/{name}.py:{variant}"
        given = {"vqvae_videos": ("data.options.folder", self.home / "videos"),
                 "vqvae2d_images": ("data.options.folder", self.home / "images"),
                 "maskgvt_traj": ("tokenizer.run", self.home / "tokenizer"),
                 "lmgvt_traj": ("tokenizer.run", self.home / "tokenizer")}.get(name)
        if edit.config == "classifier_traj:tiny":
            given = ("methods.codes.tokenizer.run", self.home / "tokenizer")
        flags = [f"--config.{given[0]}={given[1]}"] if given else []
        if given and (given[0] == edit.path or given[0].startswith(edit.path + ".")):
            flags = []  # or the edit would be undone
        if edit.in_file:
            *sections, last = edit.path.split(".")
            change = f"part[{last!r}] = {self._literal(edit.value)}"
            if edit.kind == "missing":
                change = f"del part[{last!r}]"
            config = self.home / f"{workdir.name}.py"
            config.write_text(COPY.format(path=f"{ROOT}/configs/{name}.py", variant=variant, sections=sections,
                                          change=change))
        else:
            flags.append(f"--config.{edit.path}={edit.value}")
        return ["run.py", f"--config={config}", f"--mode={mode}", f"--workdir={workdir}", f"--data_dir={self.data}",
                *flags]

    def here(self, edit: Edit, mode: str, number: int) -> Outcome:
        """What comes of an edit in this process."""
        workdir, errors = self.home / f"edit{number}", io.StringIO()
        arguments = self.arguments(edit, mode, workdir)
        ended, trouble = "success", ""
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()), flagsaver.flagsaver():
            try:
                run.main(arguments)
            except SystemExit as left:
                ended = "refused" if left.code == 2 else "failed"
                trouble = f"exit code {left.code}"
            except BaseException:
                ended, trouble = "failed", traceback.format_exc()
        return self._judged(ended, trouble, errors.getvalue(), workdir, mode)

    def apart(self, edit: Edit, mode: str, number: int) -> Outcome:
        """What comes of an edit in a process of its own."""
        workdir = self.home / f"edit{number}"
        command = [sys.executable, *self.arguments(edit, mode, workdir)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900,
                              env={**os.environ, "JAX_PLATFORMS": "cpu"})
        ended = {0: "success", 2: "refused"}.get(done.returncode, "failed")
        return self._judged(ended, f"exit code {done.returncode}\n{done.stderr}", done.stderr, workdir, mode)

    def _judged(self, ended: str, trouble: str, errors: str, workdir: pathlib.Path, mode: str) -> Outcome:
        told = errors.split("Error: ")
        if ended == "refused" and (len(told) != 2 or not told[1].strip() or "Traceback" in errors):
            ended, trouble = "failed", f"{len(told) - 1} messages:\n{errors}"
        if ended != "success" or mode == "plan":
            left = [path for path in (workdir, *self.data.rglob("incomplete.*")) if path.exists()]
            if left:
                ended, trouble = "failed", f"left behind: {', '.join(map(str, left))}\n{trouble}"
        return Outcome(ended, told[-1].strip() if ended == "refused" else trouble if ended == "failed" else "")

    @staticmethod
    def _literal(value: Any) -> str:
        return "float('nan')" if value != value else repr(value)

    def _make_pictures(self) -> None:
        import numpy as np
        from PIL import Image

        rows, columns = np.mgrid[:40, :40]
        for index in range(30):
            frames = [Image.fromarray(np.stack([6 * rows, 6 * columns, 0 * rows + 8 * (index + time) % 256], -1)
                                      .astype(np.uint8)) for time in range(8)]
            for kind in ("videos", "images"):
                (self.home / kind).mkdir(exist_ok=True)
            frames[0].save(self.home / "images" / f"{index}.png")
            frames[0].save(self.home / "videos" / f"{index}.gif", save_all=True, append_images=frames[1:], duration=40)

    def _make_tokenizer(self) -> None:
        import jax
        import numpy as np

        from videogvt.core.trees import frozen
        from videogvt.nn.tokenizer import TokenizerNetwork
        from videogvt.train.checkpoint import Checkpoints
        from videogvt.train.state import TrainState

        folder = self.home / "tokenizer"
        if (folder / "config.json").exists():
            return
        fields = {"filters": 8, "channel_multipliers": [1], "temporal_downsample": [], "encoder_blocks": [1, 0],
                  "decoder_blocks": [1, 0], "norm_groups": 4, "stem": [4, 4, 4], "conv": "split", "padding": "zero",
                  "quantizer": {"name": "vq", "num_codes": 32, "embedding_dim": 4}}
        network, clip = TokenizerNetwork(**frozen(fields)), np.zeros((1, 8, 32, 32, 3), np.float32)
        params = jax.jit(network.init)(jax.random.key(0), clip)["params"]
        state = TrainState.create(params={"generator": params}, opt={}, ema={"generator": params})
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state, {}, {"step": 1, "numbers": {}})
        data = {"source": "trajectories", "options": {"config": "tiny"}, "transforms": {}}
        (folder / "config.json").write_text(json.dumps({"recipe": "tokenizer", "tokenizer": fields, "data": data}))


def outcomes(workshop: Workshop, flags: argparse.Namespace) -> Iterator[tuple[Edit, Outcome]]:
    """Every edit with what came of it."""
    for number in range(flags.first, flags.first + flags.count):
        edit, mode = draw(number, flags.seed), "train" if flags.train and number % flags.train == 0 else "plan"
        apart = number >= flags.first + flags.count - flags.processes
        yield edit, (workshop.apart if apart else workshop.here)(edit, mode, number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("count", 300), ("first", 0), ("processes", 15), ("seed", 0), ("train", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--home", type=pathlib.Path, default=None)
    parser.add_argument("--show", action="store_true", help="print every message")
    flags = parser.parse_args()
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(flags.home or pathlib.Path(folder))
        for place, (edit, outcome) in enumerate(outcomes(workshop, flags), flags.first):
            counts[edit.kind, outcome.ended] += 1
            if outcome.ended == "failed" or flags.show:
                print(f"{place}: {edit}\n    {outcome.ended} {outcome.said}", flush=True)
    ends = ("success", "refused", "failed")
    for kind in KINDS:
        print(f"{kind:14}" + "".join(f"{ended} {counts[kind, ended]:4}  " for ended in ends))
    return int(any(ended == "failed" for _, ended in counts))


if __name__ == "__main__":
    sys.exit(main())
