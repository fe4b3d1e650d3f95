"""The masked transformer on trajectory videos: generation by class, prediction, inter-, in- and outpainting.

    python run.py --config=configs/vqvae_traj.py                # first: the tokenizer, in runs/vqvae_traj
    python run.py --config=configs/classifier_traj.py:judge     # and who judges what is generated
    python run.py --config=configs/maskgvt_traj.py              # then this: a laptop's two cores

    python run.py --config=configs/maskgvt_traj.py --mode=generate --class=helical --number=4

Variants by argument:

    default     generation by class from codes of places, minutes on two cores
    long        an hour, on more clips
    guided      another hour from long's weights, the class withheld from a tenth of the clips, so that decoding can be
                guided away from what any class would do; ships as maskgvt64_8x4x4
    multitask   all ten tasks from one checkpoint, an hour and a half from guided's weights
    B, L        the paper's transformers on the codes of configs/vqvae_traj.py:B and :L, for a GPU or TPU
    tiny        two steps, for the tests

To go on from long's weights, and to grow a trained single-task run into the multi-task one:

    python run.py --config=configs/maskgvt_traj.py:guided --config.init_from.workdir=runs/maskgvt_traj-long
    python run.py --config=configs/maskgvt_traj.py:multitask --config.init_from.workdir=runs/maskgvt_traj-guided

docs/record.md has hardware, time and figures of all but B and L, which were not trained.

``transformer.causal_frames`` lets each frame of codes see itself and those before it, so that all frames of a clip are
learned at once, each from the true ones before it; with ``conditions_ahead`` also what a task gives of later frames.
``masking.schedule`` says how many of the tokens of a clip, or then of each of its frames, are masked.
"between:0.5,1" masks evenly from a half to all, three quarters on average; "fixed:0.75" always three quarters, "pow3"
1 - u^3 of them for an even u, and "cosine" is the paper's curve. Where tasks see pixels, the paper's COMMIT shows a
masked token's condition in its place.
``decoding.sampler`` names how tokens are chosen, and the section's other fields are that sampler's own: "confidence"
(the paper's), "margin", "speaking", "random", "halton", "frames", "bisection", "draft_and_revise" or "remasking";
``videogvt/decode`` has their fields and sources. Where a rule asks for the empty code, ``empty`` is "most_frequent":
the most frequent code of the training clips. ``benchmarks/samplers.py`` sets them side by side.
The codes of the training clips are written once, to the data root. Where tasks see pixels, the codes of what they give
follow from these for cells that are given whole, if a code is of its own cell alone; others are made while training.
"""

from ml_collections import ConfigDict, config_dict

ALL_TASKS = ("FP:8", "FI:4,4", "OPC", "OPV", "OPH", "OPD", "IPC", "IPD", "CG", "CFP:8")


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "long": _long, "guided": _guided, "multitask": _multitask,
                "B": _paper_b, "L": _paper_l, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/maskgvt_traj.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "maskgvt_traj" if variant == "default" else f"maskgvt_traj-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "transformer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 16

    config.tokenizer = ConfigDict()
    config.tokenizer.run = "runs/vqvae_traj"  # a run's directory, or the name of one that ships
    config.tokenizer.step = "best"

    config.transformer = ConfigDict()
    config.transformer.layers = 4
    config.transformer.hidden = 128
    config.transformer.heads = 2
    config.transformer.mlp = 512
    config.transformer.dropout = 0.0
    config.transformer.attention_dropout = 0.0
    config.transformer.norm = "pre"  # the paper's is "post", with 5,000 steps of warm-up
    config.transformer.rotary = True  # ours, beside the paper's learned positions
    config.transformer.codebook_embeddings = True  # ours: codes that look alike are read, and said, alike
    config.transformer.causal_frames = True  # as MAGI's: each frame of codes is told from those before it, all at once

    config.tasks = ConfigDict()
    config.tasks.names = ("CG",)

    config.masking = ConfigDict()
    config.masking.schedule = "between:0.5,1"  # of each frame; three quarters on average; the paper's is "cosine"

    config.decoding = ConfigDict()
    config.decoding.sampler = "frames"
    config.decoding.cells = "speaking"  # the object before the empty cells around it
    config.decoding.empty = "most_frequent"
    config.decoding.steps = 12  # for each frame of codes
    config.decoding.schedule = "exp"  # one code at a time while they say something, the empty ones at once
    config.decoding.rounding = "ceil"
    config.decoding.temperature = 1.0
    config.decoding.speaking_temperature = 0.1  # where the object goes with little noise, whether it is there with all

    config.losses = ConfigDict()
    config.losses.empty = "most_frequent"
    config.losses.label_smoothing = 1e-4
    config.losses.class_dropout = 0.0
    config.losses.ema_decay = 0.99  # ours; the paper has none

    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "step": "best"})
    config.init_from.token_embeddings = "random"  # as the paper's; "codebook" begins with the vectors of the codes

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3
    config.optimizer.muon = True
    config.optimizer.adam_learning_rate = 4e-3  # of tables, norms and biases
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.96
    config.optimizer.weight_decay = 0.045
    config.optimizer.clip_norm = 1.0
    config.optimizer.warmup_steps = 30

    config.train = ConfigDict()
    config.train.steps = 3000
    config.train.log_every = 100
    config.train.save_every = 750
    config.train.best = "eval/validation/clip_loss"  # nats for all codes of a clip, frame after frame
    config.train.best_mode = "min"
    config.train.show = ("loss", "masked_accuracy", "speaking_loss")

    config.evals = ConfigDict()
    config.evals.every = 750
    config.evals.limit = 128  # clips of each split
    config.evals.batch_size = 25
    config.evals.generation = ConfigDict()  # what the last step generates, measured
    config.evals.generation.judge = "runs/classifier_traj-judge"  # a second opinion on classes; "" for none
    config.evals.generation.per_class = 100
    config.evals.generation.limit = 500  # clips to predict for each task
    config.evals.generation.i3d = config_dict.placeholder(str)  # file of weights: measures FVD (docs/fvd.md)
    config.evals.generation.c3d = config_dict.placeholder(str)  # file of weights: measures the Inception Score
    config.evals.generation.fold_clips = 10_000  # clips of each of the folds of both; the paper's numbers
    config.evals.generation.folds = 4

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _long() -> ConfigDict:
    """Longer, on more clips."""
    config = _default()
    config.data.options.clips = 100_000  # the first 8,000 are mono64's own, so that its tokenizer and judge fit
    config.train.steps = 12_000
    config.train.save_every = 1000
    config.evals.every = 2000
    config.evals.limit = 256
    return config


def _guided() -> ConfigDict:
    """From the weights of ``long``, with the class withheld at times, which guidance (arXiv 2207.12598) needs."""
    config = _long()
    config.losses.class_dropout = 0.1
    config.decoding.guidance = 0.5
    config.optimizer.learning_rate = 1e-3  # half of what began from random weights
    config.optimizer.adam_learning_rate = 2e-3
    return config


def _multitask() -> ConfigDict:
    """The ten tasks, one drawn for each clip, from the weights of ``guided``."""
    config = _guided()
    config.tasks.names = ALL_TASKS
    config.tasks.mixing = "sample"
    config.tasks.background = 1.0  # not the paper's black, beside which half a ball has no code of its own
    config.transformer.conditions_ahead = True  # and of later frames what a task gives, in its places
    config.transformer.segment_embeddings = True  # what is given is marked: where a cell is cut it may be wrong
    config.masking.extra_conditions = 0.5  # tasks that give later frames are few; so every frame learns to use them
    config.train.steps = 8000
    config.train.save_every = 500
    config.evals.every = 1000
    return config


def _plain() -> ConfigDict:
    """Nothing of ours in the network, the loss and the decoding, which is the paper's."""
    config = _default()
    del config.transformer["codebook_embeddings"], config.transformer["causal_frames"], config.losses["empty"]
    config.masking = ConfigDict({"schedule": "cosine"})
    config.decoding = ConfigDict({"steps": 12, "schedule": "cosine", "temperature": 1.0, "choice_temperature": 4.5})
    config.train.best = "eval/validation/loss"
    config.train.show = ("loss", "masked_loss", "masked_accuracy")
    return config


def _paper(size: str, layers: int, hidden: int, heads: int) -> ConfigDict:
    """The paper's transformer with the paper's settings, for generation by class."""
    config = _plain()
    config.data.options.config = "mono128"
    config.data.batch_size = 256
    config.tokenizer.run = f"runs/vqvae_traj-{size}"
    config.transformer = ConfigDict({
        "layers": layers, "hidden": hidden, "heads": heads, "mlp": 4 * hidden, "dropout": 0.1,
        "attention_dropout": 0.1, "norm": "post", "dtype": "bfloat16",
    })
    config.losses.ema_decay = 0.0
    config.optimizer.learning_rate = 1e-4
    config.optimizer.muon = False
    config.optimizer.adam_learning_rate = None
    config.optimizer.warmup_steps = 5000
    config.train.steps = 74_000
    config.train.save_every = 1000
    config.evals.every = 2000
    config.evals.limit = 256
    config.evals.batch_size = 64
    config.evals.generation.judge = ""  # train one on clips of this size first
    return config


def _paper_b() -> ConfigDict:
    return _paper("B", 12, 768, 12)


def _paper_l() -> ConfigDict:
    config = _paper("L", 24, 1024, 16)
    config.transformer.remat = True
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _plain()
    config.data.options.config = "tiny"
    config.data.batch_size = 4
    config.tokenizer.run = "runs/vqvae_traj-tiny"
    config.transformer.layers = 1
    config.transformer.hidden = 16
    config.transformer.heads = 2
    config.transformer.mlp = 32
    config.tasks.names = ("CG", "FP:4", "IPC")
    config.masking.schedule = "fixed:0.75"
    config.decoding.steps = 3
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
