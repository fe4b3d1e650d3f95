"""Writes what the benchmark knows of the shipped configs: ``sections.json``, and the losses of a CPU beside it."""

import json
import re
import runpy
from collections.abc import Mapping
from typing import Any

from on_device import defaults, sizes
from videogvt.pretrained.bundle import CONFIG, shipped
from videogvt.world.spec import SPECS

CONFIGS = sizes.HOME.parents[1] / "configs"

SOURCES = {
    "tokenizer B": ("vqvae_traj", "B"), "tokenizer L": ("vqvae_traj", "L"), "transformer B": ("maskgvt_traj", "B"),
    "transformer L": ("maskgvt_traj", "L"), "default tokenizer": ("vqvae_traj", "default"),
    "default transformer": ("maskgvt_traj", "default"), "tiny tokenizer": ("vqvae_traj", "tiny"),
    "tiny transformer": ("maskgvt_traj", "tiny"),
}
TOKENIZER = ("tokenizer", "generator", "losses", "discriminator", "optimizer")
TRANSFORMER = ("transformer", "tasks", "masking", "decoding", "losses", "optimizer")
MIN_STEPS = 100  # of the schedule of the learning rate, which the tiny variants end after two

TRAINED = {"tiny tokenizer": defaults.TINY_STEPS, "tiny transformer": defaults.TINY_STEPS,
           "default tokenizer": defaults.COMPARED, "default transformer": defaults.COMPARED}


def sections() -> dict[str, Any]:
    """The sections of all networks, as the configs have them now."""
    return json.loads(json.dumps({name: _section(*source) for name, source in SOURCES.items()}))


def _config(file: str, variant: str) -> dict[str, Any]:
    return runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](variant).to_dict()


def _section(file: str, variant: str) -> dict[str, Any]:
    config = _config(file, variant)
    world = config["data"]["options"]["config"]
    spec = SPECS[world]
    found = {"world": world, "clip": (spec.num_frames, spec.height, spec.width), "classes": len(spec.families),
             "batch_size": config["data"]["batch_size"],
             "train": {"steps": max(config["train"]["steps"], MIN_STEPS)}}
    if "transformer" not in config:
        return found | {name: config[name] for name in TOKENIZER}
    found |= {name: config[name] for name in TRANSFORMER} | {"network": _network(config["tokenizer"]["run"])}
    # Generation by class alone, whose steps are the same for every data set and need no pixels.
    return found | {"tasks": {"names": ("CG",)}}


def _network(run: str) -> Mapping[str, Any]:
    """The section ``tokenizer`` of a run of a shipped config, "runs/<config>[-<variant>]", or of what ships."""
    if run in shipped():
        return json.loads((shipped()[run] / CONFIG).read_text())["tokenizer"]
    named = re.fullmatch(r"runs/(\w+)(?:-(\w+))?", run)
    if not named:
        raise ValueError(f"config.tokenizer.run is {run!r}; expected runs/<config>[-<variant>] or the name of a "
                         f"shipped tokenizer ({', '.join(shipped())}).")
    return _config(named[1], named[2] or "default")["tokenizer"]


def refresh() -> None:
    """Writes both files; networks are trained for whose sections there are no losses yet."""
    found = sections()
    sizes.SECTIONS.write_text(json.dumps(found, indent=1) + "\n")
    losses = json.loads(sizes.LOSSES.read_text()) if sizes.LOSSES.exists() else {}
    for name, steps in TRAINED.items():
        mark = sizes.digest(found[name])
        if losses.get(name, {}).get("sections") != mark:
            print(f"{name}: {steps} steps ...", flush=True)
            trained = [float(f"{loss:.7g}") for loss in defaults.train(name, steps)["losses"]]
            losses[name] = {"sections": mark, "losses": trained}
            sizes.LOSSES.write_text(json.dumps(losses, indent=1) + "\n")
