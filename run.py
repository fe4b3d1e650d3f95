"""Does one thing with one config.

    python run.py --config=configs/vqvae_traj.py                       # trains, evaluates, reports
    python run.py --config=configs/vqvae_traj.py --mode=preview        # a gallery of the data set
    python run.py --config=configs/vqvae_traj.py:B --mode=plan         # what the paper's B model would cost
    python run.py --config=configs/vqvae_traj.py --config.seed=1 --workdir=runs/vqvae_traj-seed1

    python run.py --config=configs/maskgvt_traj.py --mode=generate --class=helical --number=8
    python run.py --config=configs/maskgvt_traj.py:multitask --mode=generate --task=FP:8 --index=12 --show_steps
"""

import sys

from videogvt.core.backend import check_devices, prepare_backend, use_huge_pages
from videogvt.core.processes import together

if __name__ == "__main__":
    use_huge_pages()
prepare_backend()  # before anything imports jax

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from videogvt import modes  # noqa: E402

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with a variant: configs/vqvae_traj.py:B")
MODE = flags.DEFINE_enum("mode", "train", list(modes.MODES), modes.describe())
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; by default runs/<config>[-<variant>].")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Root of the data sets; default $VIDEOGVT_DATA or ~/.cache/videogvt.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "Process 0 of a run of many, host:port; auto asks the cluster.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes the run has; see docs/cloud.md.")
STEAL_LOCK = flags.DEFINE_bool("steal_lock", False, "Take the workdir from a process on another host that is gone.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")

REQUEST = {  # what --mode=generate makes; see modes.Request
    "task": flags.DEFINE_string("task", None, "generate: CG, FP:8, IPC, ...; by default the generator's first."),
    "label": flags.DEFINE_string("class", None, "generate: a class by name or number; by default all in turn."),
    "number": flags.DEFINE_integer("number", 4, "generate: how many clips."),
    "seed": flags.DEFINE_integer("seed", 0, "generate: of all that is random."),
    "video": flags.DEFINE_string("video", None, "generate: a file of which a part is given to the task."),
    "index": flags.DEFINE_integer("index", None, "generate: a clip of the data set that is given instead."),
    "split": flags.DEFINE_string("split", "test", "generate: the split that --index counts in."),
    "frames": flags.DEFINE_integer("frames", None, "generate: frames of a video longer than a clip."),
    "given": flags.DEFINE_integer("given", None, "generate: frames that each further clip is predicted from."),
    "sampler": flags.DEFINE_string("sampler", None, "generate: confidence, random, halton, frames, bisection, ..."),
    "steps": flags.DEFINE_integer("steps", None, "generate: decoding steps; of each frame, of each draft."),
    "temperature": flags.DEFINE_float("temperature", None, "generate: of the codes that are drawn."),
    "choice_temperature": flags.DEFINE_float("choice_temperature", None, "generate: of which codes are kept first."),
    "guidance": flags.DEFINE_float("guidance", None, "generate: strength of the class, after class dropout."),
    "show_steps": flags.DEFINE_bool("show_steps", False, "generate: also show how the first clip came about."),
    "output": flags.DEFINE_string("output", None, "generate: folder of the files."),
}


def main(arguments: list[str]) -> None:
    """Passes the flags on."""
    if not any(argument.startswith(("--verbosity", "-v")) for argument in sys.argv[1:]):
        logging.set_verbosity(logging.WARNING)  # the libraries talk a lot; --verbosity=0 lets them
    if arguments[1:]:
        raise app.UsageError(f"Found {' '.join(arguments[1:])!r}; every argument is a flag, such as --config=FILE.")
    if MODE.value not in (*modes.SHARED, *modes.WITHOUT_DEVICES):
        check_devices()
    if MODE.value == "generate":
        request = modes.Request(**{name: flag.value for name, flag in REQUEST.items()})
        return modes.generate(CONFIG.value, WORKDIR.value, DATA_DIR.value, request)
    if CONFIG.value is None:
        raise app.UsageError("Give a config: --config=configs/vqvae_traj.py")
    if MODE.value not in modes.SHARED:
        return modes.MODES[MODE.value](CONFIG.value, WORKDIR.value, DATA_DIR.value)
    with together(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value):  # before anything asks jax for devices
        check_devices()
        with modes.alone(CONFIG.value, WORKDIR.value, STEAL_LOCK.value):
            modes.MODES[MODE.value](CONFIG.value, WORKDIR.value, DATA_DIR.value)


if __name__ == "__main__":
    app.run(main)
