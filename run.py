"""Does one thing with one config.

    python run.py --config=configs/vqvae_traj.py                       # trains, evaluates, reports
    python run.py --config=configs/vqvae_traj.py --mode=preview        # a gallery of the data set
    python run.py --config=configs/vqvae_traj.py:B --mode=plan         # dry run: the paper's B model, nothing trained
    python run.py --config=configs/vqvae_traj.py --config.seed=1 --workdir=runs/vqvae_traj-seed1
    python run.py --config=configs/vqvae_traj.py --mode=keys           # every key that can be given so

    python run.py --config=configs/maskgvt_traj.py --mode=generate --class=helical --number=8
    python run.py --config=configs/maskgvt_traj.py:multitask --mode=generate --task=FP:8 --index=12 --show_steps

A mistake in what was given ends with one message and exit code 2; --verbosity=0 shows where it was found, and lets the
libraries talk.
"""

from videogvt.core.backend import check_devices, prepare_backend, use_huge_pages
from videogvt.core.mistakes import reported
from videogvt.core.processes import together

if __name__ == "__main__":
    use_huge_pages()
prepare_backend()  # before anything imports jax

from absl import app, flags, logging  # noqa: E402

from videogvt import modes  # noqa: E402

CONFIG = flags.DEFINE_string("config", None, "A file of configs/, with a variant: configs/vqvae_traj.py:B; its keys "
                             "are flags too, --config.train.steps=100, and --mode=keys lists them.")
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
    """The whole command, of the program's name and its flags; a mistake of the user is a ``SystemExit`` of code 2."""
    talking = _talking(arguments)
    if not talking:
        logging.set_verbosity(logging.WARNING)  # the libraries talk a lot
    with reported(with_traceback=talking):
        assignments = _parsed(arguments)
        modes.check_workdir(MODE.value, WORKDIR.value)
        if MODE.value not in (*modes.SHARED, *modes.WITHOUT_DEVICES):
            check_devices()
        if MODE.value == "generate":
            request = modes.Request(**{name: flag.value for name, flag in REQUEST.items()})
            config = modes.configured(CONFIG.value, assignments) if CONFIG.value is not None else None
            return modes.generate(config, WORKDIR.value, DATA_DIR.value, request)
        if CONFIG.value is None:
            raise ValueError("Give a config: --config=configs/vqvae_traj.py")
        config = modes.configured(CONFIG.value, assignments)
        if MODE.value not in modes.SHARED:
            return modes.MODES[MODE.value](config, WORKDIR.value, DATA_DIR.value)
        with together(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value):  # before anything asks for devices
            check_devices()
            with modes.alone(config, WORKDIR.value, STEAL_LOCK.value):
                modes.MODES[MODE.value](config, WORKDIR.value, DATA_DIR.value)


def _talking(arguments: list[str]) -> bool:
    return any(argument.startswith(("--verbosity", "-v")) for argument in arguments[1:])


def _parsed(arguments: list[str]) -> list:
    """Parses absl's flags and returns the assignments to keys of the config."""
    from videogvt.command import split

    assignments, others = split(arguments)
    try:
        left = flags.FLAGS(others)
    except flags.Error as error:
        raise ValueError(f"{error}. --help lists the flags, --mode=keys those of a config.") from error
    if left[1:]:
        raise ValueError(f"Found {' '.join(left[1:])!r}; every argument is a flag, such as --config=FILE.")
    if assignments and CONFIG.value is None:
        raise ValueError(f"--config.{assignments[0].path} is a key of a config; name the config too, --config=FILE.")
    return assignments


def _parser(arguments: list[str]) -> list[str]:
    """absl's parser: it reads the flags and hands on all arguments."""
    with reported(with_traceback=_talking(arguments)):
        _parsed(arguments)
    return arguments


if __name__ == "__main__":
    app.run(main, flags_parser=_parser)
