"""The causal baseline on moving digits: codes one after another, from the class, which two digits are shown.

    python run.py --config=configs/vqvae_digits.py              # first: the tokenizer, in runs/vqvae_digits
    python run.py --config=configs/classifier_digits.py:pairs   # who names the pair in what is generated
    python run.py --config=configs/lmgvt_digits.py              # then this

Variants: default, of the data, codes and width of configs/maskgvt_digits.py; tiny, two steps for the tests. This
transformer generates whole clips by class and nothing else, so that prediction is the masked transformer's alone. No
run of it was measured yet.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/lmgvt_digits.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "lmgvt_digits" if variant == "default" else f"lmgvt_digits-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "lm"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "digits"
    config.data.options = ConfigDict({"config": "digits64"})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 16

    config.tokenizer = ConfigDict()
    config.tokenizer.run = "runs/vqvae_digits"  # a run's directory
    config.tokenizer.step = "best"

    config.lm = ConfigDict()
    config.lm.layers = 4
    config.lm.hidden = 128
    config.lm.heads = 2
    config.lm.mlp = 512
    config.lm.dropout = 0.0
    config.lm.codebook_embeddings = True

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
    config.optimizer.learning_rate = 2e-3
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
    config.train.save_every = 1000
    config.train.best = "eval/validation/clip_loss"
    config.train.best_mode = "min"
    config.train.show = ("loss", "accuracy", "speaking_loss")

    config.evals = ConfigDict()
    config.evals.every = 1000
    config.evals.limit = 128
    config.evals.batch_size = 20
    config.evals.generation = ConfigDict()
    config.evals.generation.judge = "runs/classifier_digits-pairs"  # names pairs in generated clips; "" for none
    config.evals.generation.per_class = 10  # of 55
    config.evals.generation.i3d = config_dict.placeholder(str)  # file of weights: measures FVD (docs/fvd.md)
    config.evals.generation.c3d = config_dict.placeholder(str)  # file of weights: measures the Inception Score
    config.evals.generation.fold_clips = 10_000
    config.evals.generation.folds = 4

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _default()
    config.data.options.config = "digits_tiny"
    config.data.batch_size = 4
    config.tokenizer.run = "runs/vqvae_digits-tiny"
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
        "judge": config_dict.placeholder(str), "per_class": 1, "seeds": 1, "i3d": config_dict.placeholder(str),
        "c3d": config_dict.placeholder(str), "fold_clips": 2, "folds": 2,
    })
    return config
