"""MAGVIT's transformer on BAIR robot pushing at 64 px, with the settings of the paper (arXiv 2212.05199).

    python run.py --config=configs/vqvae_bair.py                  # first: data and tokenizer, see there
    python run.py --config=configs/maskgvt_bair.py                # frame prediction, the B model
    python run.py --config=configs/maskgvt_bair.py:multitask      # eight tasks, the B model

Variants:

    B (default), L            frame prediction from one frame, decoded for the standard protocol: 12 steps, schedule
                              "exp", choice temperature 400
    debiased, debiased_L      the same networks, decoded for the debiased protocol: 12 steps, cosine, 4.5
    multitask, multitask_L    FP, FI, OPC, OPV, OPH, OPD, IPC, IPD, one task a step
    released, released_L      multitask with the released code's choices: masked tokens rounded down, sliding regions
                              drawn on the latent grid, inpainting with the task token of outpainting

Decoding plays no part in training. In every variant it scores as the released code does, by log-probabilities and
rounded down (``config.decoding``), to which the published temperatures belong. One trained network is measured by both
protocols with

    python run.py --config=configs/maskgvt_bair.py:debiased --workdir=runs/maskgvt_bair --mode=eval

Training draws 16 of the 30 frames at random and mirrors half of the clips, so that codes are made online.

Hardware and time: not published for BAIR. B takes 67,600 steps of 256 clips (400 epochs), L 135,200 (800); multi-task
202,800 (1200) and 270,400 (1600).

Scores, as published (FVD, 25,600 x 4 predictions from one frame):

                            standard    debiased
    MAGVIT-B-FP             76 +- 0.1   48 +- 0.1
    MAGVIT-L-FP             62 +- 0.1   31 +- 0.2

    debiased, 8 tasks       mean     FP     FI    OPC    OPV    OPH    OPD    IPC    IPD
    MAGVIT-B-MT             32.8   47.2   36.0   28.1   29.0   27.8   32.1   31.1   31.0
    MAGVIT-L-MT             22.8   31.4   26.4   21.3   21.2   19.5   20.9   21.3   20.3
"""

from ml_collections import ConfigDict, config_dict

EIGHT_TASKS = ("FP", "FI", "OPC", "OPV", "OPH", "OPD", "IPC", "IPD")


def get_config(variant: str = "B") -> ConfigDict:
    """The config of a variant."""
    variants = {
        "B": _prediction(False), "L": _prediction(True), "debiased": _config(False), "debiased_L": _config(True),
        "multitask": _multitask(False), "multitask_L": _multitask(True), "released": _released(False),
        "released_L": _released(True),
    }
    if variant not in variants:
        raise ValueError(f"configs/maskgvt_bair.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "maskgvt_bair" if variant == "B" else f"maskgvt_bair-{variant}"
    return config


def _config(large: bool) -> ConfigDict:
    config = ConfigDict()
    config.recipe = "transformer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "bair_robot_pushing_small"
    config.data.options = ConfigDict({"num_frames": 30, "height": 64, "width": 64})
    config.data.transforms = ConfigDict({
        "temporal_window": ConfigDict({"num_frames": 16}), "random_flip": ConfigDict(),
    })
    config.data.batch_size = 256

    config.tokenizer = ConfigDict({"run": "runs/vqvae_bair-L" if large else "runs/vqvae_bair", "step": "best"})

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

    config.tasks = ConfigDict({"names": ("FP",), "rule": "paper", "released_prefix": False})
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
    config.train.steps = 135_200 if large else 67_600
    config.train.log_every = 50
    config.train.save_every = 1000
    config.train.show = ("loss", "masked_loss", "masked_accuracy")

    config.evals = ConfigDict()  # on test, once, at the end: the paper trains on all that is not test
    config.evals.transforms = ConfigDict({"temporal_window": ConfigDict({"num_frames": 16, "random": False})})
    config.evals.every = 2000
    config.evals.limit = 256
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _prediction(large: bool) -> ConfigDict:
    """The standard protocol: accepted in nearly random order until the last step."""
    config = _config(large)
    config.decoding.schedule = "exp"
    config.decoding.choice_temperature = 400.0
    return config


def _multitask(large: bool) -> ConfigDict:
    config = _config(large)
    config.tasks.names = EIGHT_TASKS
    config.tasks.mixing = "step"
    config.train.steps = 270_400 if large else 202_800
    return config


def _released(large: bool) -> ConfigDict:
    config = _multitask(large)
    config.masking.rounding = "floor"
    config.tasks.rule = "released"
    config.tasks.released_prefix = True
    return config
