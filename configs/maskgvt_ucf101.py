"""MAGVIT's class-conditional transformer on UCF-101 at 128 px, with the settings of the paper (arXiv 2212.05199).

    python run.py --config=configs/vqvae_ucf101.py       # first: data and tokenizer, see there
    python run.py --config=configs/maskgvt_ucf101.py     # then the B model; maskgvt_ucf101.py:L for L

Variants: B (default), L; released, released_L: the released code's choices where they differ from the paper's, which
here is the rounding of the number of masked tokens.

The sequence is the class and 1,024 codes, as in the released code; the paper counts 1,026 with a task token, which
``config.tasks.multitask = True`` adds. Inference takes 12 steps, cosine, choice temperature 4.5, and in every variant
it scores as the released code does, by log-probabilities and rounded down, to which this temperature belongs; the
paper's are ``config.decoding.confidence = "prob"`` and ``config.decoding.rounding = "ceil"``.

Hardware and time, as published: B at 1.24 steps/s on 16 TPU-v2 chips, 17 hours for 74,000 steps (2000 epochs); L at
2.70 steps/s on 32 TPU-v4 chips, 7.6 hours for as many. L recomputes its layers in the backward pass here.

Scores, as published, of 16 x 128 x 128 clips by class, 4 x 10,000 of them against clips of the training set; the last
evaluation measures them where ``config.evals.generation`` names the networks' files (docs/fvd.md):

                        FVD          IS
    MAGVIT-B-CG         159 +- 2     83.55 +- 0.14
    MAGVIT-L-CG          76 +- 2     89.27 +- 0.15
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "B") -> ConfigDict:
    """The config of a variant."""
    variants = {"B": _config(False), "L": _config(True), "released": _released(False), "released_L": _released(True)}
    if variant not in variants:
        raise ValueError(f"configs/maskgvt_ucf101.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "maskgvt_ucf101" if variant == "B" else f"maskgvt_ucf101-{variant}"
    return config


def _config(large: bool) -> ConfigDict:
    config = ConfigDict()
    config.recipe = "transformer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "ucf101"
    config.data.options = ConfigDict({"num_frames": 16, "height": 128, "width": 128})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 256

    config.tokenizer = ConfigDict({"run": "runs/vqvae_ucf101-L" if large else "runs/vqvae_ucf101", "step": "best"})

    config.transformer = ConfigDict()
    config.transformer.layers = 24 if large else 12
    config.transformer.hidden = 1024 if large else 768
    config.transformer.heads = 16 if large else 12
    config.transformer.mlp = 4096 if large else 3072
    config.transformer.dropout = 0.1
    config.transformer.attention_dropout = 0.1
    config.transformer.norm = "post"
    config.transformer.remat = large
    config.transformer.dtype = "bfloat16"

    config.tasks = ConfigDict({"names": ("CG",), "multitask": False})
    config.masking = ConfigDict({"schedule": "cosine", "rounding": "ceil", "weights": "mask+refine+recons"})
    config.decoding = ConfigDict({"steps": 12, "schedule": "cosine", "choice_temperature": 4.5})
    config.decoding.confidence = "log"
    config.decoding.rounding = "floor"
    config.losses = ConfigDict({"label_smoothing": 1e-4, "class_dropout": 0.0, "ema_decay": 0.0})
    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "step": "best"})

    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.9, "b2": 0.96})
    config.optimizer.weight_decay = 0.045
    config.optimizer.clip_norm = 1.0
    config.optimizer.warmup_steps = 5000

    config.train = ConfigDict()
    config.train.steps = 74_000
    config.train.log_every = 50
    config.train.save_every = 1000
    config.train.show = ("loss", "masked_loss", "masked_accuracy")

    config.evals = ConfigDict()  # on test, once, at the end: the paper trains on all that is not test
    config.evals.every = 2000
    config.evals.limit = 256
    config.evals.batch_size = 64
    config.evals.generation = ConfigDict({
        "judge": config_dict.placeholder(str),  # workdir of a judge of these classes
        "i3d": config_dict.placeholder(str),  # file of weights: measures FVD (docs/fvd.md)
        "c3d": config_dict.placeholder(str),  # file of weights: measures the Inception Score
        "fold_clips": 10_000, "folds": 4,
    })

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _released(large: bool) -> ConfigDict:
    config = _config(large)
    config.masking.rounding = "floor"
    return config
