"""The masked transformer on moving digits: eleven frames from five, and clips of two named digits.

    python run.py --config=configs/vqvae_digits.py              # first: the tokenizer, in runs/vqvae_digits
    python run.py --config=configs/classifier_digits.py         # who reads single digits in what is predicted
    python run.py --config=configs/classifier_digits.py:pairs   # who names the pair in what is generated
    python run.py --config=configs/maskgvt_digits.py            # then this

    python run.py --config=configs/maskgvt_digits.py --mode=generate --task=FP:5 --index=2 --number=4
    python run.py --config=configs/maskgvt_digits.py --mode=generate --task=CG --class=3-5 --number=4

Variants: default; tiny, two steps for the tests.

``FP:5`` gives the first 5 of 16 frames, as in MAGVIT's prediction on Kinetics-600, and no class; ``CG`` gives the
class, which two digits are shown, and no pixel. Codes are of two frames, so that the third frame of codes holds the
last given and the first hidden frame. It is conditioned, as every cell with a given pixel is, on the codes of a padded
clip in which the last given frame is repeated, and is predicted as well: the task, not the grid, says what is asked.
Only hidden frames are measured. With a number of frames that codes divide, FP:4 or FP:6, there are no such cells.

``transformer.causal_frames`` lets each frame of codes be told from those before it, which suits both tasks, as neither
gives pixels of later frames. What is given stands in the place of masked codes (COMMIT). The settings that both share
are explained in configs/maskgvt_traj.py.

``evals.generation`` measures both tasks at the end: "digits" is about places and identities in predicted clips, beside
copying, constant velocity, another pair and the tokenizer (docs/digits.md); set ``reader`` or ``judge`` to "" to do
without a classifier. No run of it was measured yet.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/maskgvt_digits.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "maskgvt_digits" if variant == "default" else f"maskgvt_digits-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "transformer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "digits"
    config.data.options = ConfigDict({"config": "digits64"})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 16

    config.tokenizer = ConfigDict()
    config.tokenizer.run = "runs/vqvae_digits"  # a run's directory
    config.tokenizer.step = "best"

    config.transformer = ConfigDict()
    config.transformer.layers = 4
    config.transformer.hidden = 128
    config.transformer.heads = 2
    config.transformer.mlp = 512
    config.transformer.dropout = 0.0
    config.transformer.attention_dropout = 0.0
    config.transformer.norm = "pre"
    config.transformer.rotary = True
    config.transformer.codebook_embeddings = True
    config.transformer.causal_frames = True

    config.tasks = ConfigDict()
    config.tasks.names = ("FP:5", "CG")
    config.tasks.weights = (2, 1)

    config.masking = ConfigDict()
    config.masking.schedule = "between:0.5,1"  # of each frame; three quarters on average

    config.decoding = ConfigDict()
    config.decoding.sampler = "frames"
    config.decoding.cells = "speaking"  # the digits before the empty cells around them
    config.decoding.empty = "most_frequent"
    config.decoding.steps = 12  # for each frame of codes
    config.decoding.schedule = "exp"
    config.decoding.rounding = "ceil"
    config.decoding.temperature = 1.0
    config.decoding.speaking_temperature = 0.1

    config.losses = ConfigDict()
    config.losses.empty = "most_frequent"
    config.losses.label_smoothing = 1e-4
    config.losses.class_dropout = 0.0
    config.losses.ema_decay = 0.99

    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "step": "best"})
    config.init_from.token_embeddings = "random"

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
    config.train.steps = 6000
    config.train.log_every = 100
    config.train.save_every = 1000
    config.train.best = "eval/validation/clip_loss"
    config.train.best_mode = "min"
    config.train.show = ("loss", "masked_accuracy", "speaking_loss")

    config.evals = ConfigDict()
    config.evals.every = 1000
    config.evals.limit = 128
    config.evals.batch_size = 20
    config.evals.generation = ConfigDict()  # what the last step predicts and generates, measured
    config.evals.generation.reader = "runs/classifier_digits"  # names single digits; "" for none
    config.evals.generation.judge = "runs/classifier_digits-pairs"  # names pairs in generated clips; "" for none
    config.evals.generation.per_class = 10  # of 55
    config.evals.generation.limit = 200  # clips to predict
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
    config.transformer.layers = 1
    config.transformer.hidden = 16
    config.transformer.heads = 2
    config.transformer.mlp = 32
    config.tasks.names = ("FP:3", "CG")
    config.decoding.steps = 2
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 4
    config.evals.batch_size = 4
    config.evals.generation = ConfigDict({
        "reader": config_dict.placeholder(str), "judge": config_dict.placeholder(str), "per_class": 1, "limit": 4,
        "seeds": 1, "i3d": config_dict.placeholder(str), "c3d": config_dict.placeholder(str), "fold_clips": 2,
        "folds": 2,
    })
    return config
