"""A classifier of trajectory videos on their pixels: which family of motion does a clip show?

    python run.py --config=configs/classifier_traj.py       # the judge: minutes on a laptop's two cores

Variants by argument:

    judge     a small convolution network of 96,329 parameters that looks where the ball is (default)
    tiny      two steps, for the tests

The judge names the families of generated clips, and its feature maps are a perceptual network for the tokenizer:
``config.perceptual = {"network": "judge", "workdir": "runs/classifier_traj"}``, as in ``configs/vqvae_traj.py:gan``.

Hardware and time: 1,000 steps of 32 clips, 4 epochs, take about 4 minutes on two cores.
Expected scores on the test split: accuracy at least 97 %, chance being 20 %.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "judge") -> ConfigDict:
    """The config of a variant."""
    variants = {"judge": _judge, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/classifier_traj.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "classifier_traj" if variant == "judge" else f"classifier_traj-{variant}"
    return config


def _judge() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "classifier"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict({"random_flip": {}})  # a mirrored motion is of the same family
    config.data.batch_size = 32

    config.classifier = ConfigDict()
    config.classifier.network = "judge"
    config.classifier.patch = (2, 8, 8)
    config.classifier.filters = 32
    config.classifier.blocks = 1
    config.classifier.heads = 4
    config.classifier.width = 64
    config.classifier.motion_blocks = 2

    config.losses = ConfigDict()
    config.losses.label_smoothing = 0.0
    config.losses.ema_decay = 0.99

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 3e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 20
    config.optimizer.weight_decay = 0.01

    config.train = ConfigDict()
    config.train.steps = 1000
    config.train.log_every = 50
    config.train.save_every = 250
    config.train.best = "eval/validation/accuracy"
    config.train.best_mode = "max"
    config.train.show = ("loss", "accuracy")

    config.evals = ConfigDict()
    config.evals.every = 250
    config.evals.limit = None  # validation clips per turn; all
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _judge()
    config.data.options.config = "tiny"
    config.data.batch_size = 4
    config.classifier.filters = 8
    config.classifier.heads = 2
    config.classifier.width = 16
    config.classifier.motion_blocks = 1
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 10
    config.evals.batch_size = 4
    return config
