"""The causal baseline on trajectory videos: codes one after another, generation by class.

    python run.py --config=configs/vqvae_traj.py            # first: the tokenizer, in runs/vqvae_traj
    python run.py --config=configs/lmgvt_traj.py            # then this

Variants: default and long, of the size, clips and steps of configs/maskgvt_traj.py and its variant of that name;
tiny, two steps for the tests.

The same data, codes, width and number of steps as the masked transformer's, so that a few codes at a time and one after
another can be compared; docs/record.md does.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "long": _long, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/lmgvt_traj.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "lmgvt_traj" if variant == "default" else f"lmgvt_traj-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "lm"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 16

    config.tokenizer = ConfigDict()
    config.tokenizer.run = "runs/vqvae_traj"  # a run's directory, or the name of one that ships
    config.tokenizer.step = "best"

    config.lm = ConfigDict()
    config.lm.layers = 4
    config.lm.hidden = 128
    config.lm.heads = 2
    config.lm.mlp = 512
    config.lm.dropout = 0.0
    config.lm.codebook_embeddings = True  # as the masked transformer's

    config.tasks = ConfigDict()
    config.tasks.names = ("CG",)

    config.decoding = ConfigDict()
    config.decoding.temperature = 1.0

    config.losses = ConfigDict()
    config.losses.empty = "most_frequent"
    config.losses.label_smoothing = 1e-4
    config.losses.class_dropout = 0.0
    config.losses.ema_decay = 0.99

    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "step": "best"})

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3  # as the masked transformer's
    config.optimizer.muon = True
    config.optimizer.adam_learning_rate = 4e-3
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.96
    config.optimizer.weight_decay = 0.045
    config.optimizer.clip_norm = 1.0
    config.optimizer.warmup_steps = 30

    config.train = ConfigDict()
    config.train.steps = 3000
    config.train.log_every = 100
    config.train.save_every = 750
    config.train.best = "eval/validation/clip_loss"  # nats for all codes of a clip
    config.train.best_mode = "min"
    config.train.show = ("loss", "accuracy", "speaking_loss")

    config.evals = ConfigDict()
    config.evals.every = 750
    config.evals.limit = 128  # clips of each split
    config.evals.batch_size = 20
    config.evals.generation = ConfigDict()
    config.evals.generation.judge = "runs/classifier_traj-judge"  # a second opinion on classes; "" for none
    config.evals.generation.per_class = 100
    config.evals.generation.limit = 500
    config.evals.generation.i3d = config_dict.placeholder(str)  # file of weights: measures FVD (docs/fvd.md)
    config.evals.generation.c3d = config_dict.placeholder(str)  # file of weights: measures the Inception Score
    config.evals.generation.fold_clips = 10_000  # clips of each of the folds of both; the paper's numbers
    config.evals.generation.folds = 4

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _long() -> ConfigDict:
    """Longer, on more clips."""
    config = _default()
    config.data.options.clips = 100_000  # as the masked transformer's
    config.train.steps = 12_000
    config.train.save_every = 1000
    config.evals.every = 2000
    config.evals.limit = 256
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _default()
    config.data.options.config = "tiny"
    config.data.batch_size = 4
    config.tokenizer.run = "runs/vqvae_traj-tiny"
    config.lm.layers = 1
    config.lm.hidden = 16
    config.lm.heads = 2
    config.lm.mlp = 32
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 4
    config.evals.batch_size = 4
    config.evals.generation = ConfigDict({
        "judge": config_dict.placeholder(str), "per_class": 1, "limit": 2, "i3d": config_dict.placeholder(str),
        "c3d": config_dict.placeholder(str), "fold_clips": 2, "folds": 2,
    })
    return config
