"""Does one thing with one config.

    python run.py --config=configs/vqvae_traj.py                       # trains, evaluates, reports
    python run.py --config=configs/vqvae_traj.py --mode=preview        # a gallery of the data set
    python run.py --config=configs/vqvae_traj.py:B --mode=plan         # what the paper's B model would cost
    python run.py --config=configs/vqvae_traj.py --config.seed=1 --workdir=runs/vqvae_traj-seed1
"""

import sys

from videogvt.core.backend import prepare_backend

prepare_backend()  # before anything imports jax

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from videogvt import modes  # noqa: E402

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with a variant: configs/vqvae_traj.py:B")
MODE = flags.DEFINE_enum("mode", "train", list(modes.MODES), modes.describe())
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; by default runs/<config>[-<variant>].")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Root of the data sets; default $VIDEOGVT_DATA or ~/.cache/videogvt.")


def main(arguments: list[str]) -> None:
    """Passes the flags on."""
    if not any(argument.startswith(("--verbosity", "-v")) for argument in sys.argv[1:]):
        logging.set_verbosity(logging.WARNING)  # the libraries talk a lot; --verbosity=0 lets them
    if arguments[1:]:
        raise app.UsageError(f"Found {' '.join(arguments[1:])!r}; every argument is a flag, such as --config=FILE.")
    if CONFIG.value is None:
        raise app.UsageError("Give a config: --config=configs/vqvae_traj.py")
    modes.MODES[MODE.value](CONFIG.value, WORKDIR.value, DATA_DIR.value)


if __name__ == "__main__":
    app.run(main)
