"""Transformers on codes that you bring: no tokenizer of ours is needed.

    FOLDER=my_codes      # with train.npz and, where there are, validation.npz and test.npz; docs/tokens.md says what
    python run.py --config=configs/own_codes.py --mode=import --config.data.options.files=$FOLDER
    python run.py --config=configs/own_codes.py
    python run.py --config=configs/own_codes.py --mode=generate --number=8      # codes.npz, for your own decoder

With your codec in a module beside run.py, an object with ``codes``, ``video``, ``strides``, ``num_codes`` and ``hash``,
what is generated is decoded, too:

    python run.py --config=configs/own_codes.py --config.tokenizer.run=codec:my_codec:Patches

Variants: masked (the default) and causal transformers by class; classes, what a probe reads of the codes, a study with
controls; tiny and tiny_causal, two steps for the tests. The default was trained in the tests alone, for two steps.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "masked") -> ConfigDict:
    """The config of a variant."""
    variants = {"masked": _masked, "causal": _causal, "classes": _classes, "tiny": lambda: _tiny(_masked()),
                "tiny_causal": lambda: _tiny(_causal())}
    if variant not in variants:
        raise ValueError(f"configs/own_codes.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "own_codes" if variant == "masked" else f"own_codes-{variant}"
    return config


def _data() -> ConfigDict:
    options = ConfigDict({"codes": "mine", "files": config_dict.placeholder(str)})  # files: of --mode=import alone
    return ConfigDict({"source": "codes", "options": options})


def _stage(recipe: str) -> ConfigDict:
    config = ConfigDict()
    config.recipe = recipe
    config.seed = 0

    config.data = _data()
    config.data.transforms = ConfigDict()
    config.data.batch_size = 16

    config.tokenizer = ConfigDict()
    config.tokenizer.run = config_dict.placeholder(str)  # codec:MODULE:OBJECT, for who has the decoder
    config.tokenizer.step = "best"

    config.tasks = ConfigDict()
    config.tasks.names = ("CG",)  # the task that needs no videos; by class, where there are classes

    config.losses = ConfigDict()
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
    config.train.save_every = 750
    config.train.best = "eval/validation/clip_loss"  # nats for all codes of a clip
    config.train.best_mode = "min"
    config.train.show = ("loss",)

    config.evals = ConfigDict()
    config.evals.every = 750
    config.evals.limit = 128  # clips of each split
    config.evals.batch_size = 16

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _masked() -> ConfigDict:
    config = _stage("transformer")
    config.transformer = ConfigDict({"layers": 4, "hidden": 128, "heads": 2, "mlp": 512, "dropout": 0.0})
    config.transformer.attention_dropout = 0.0
    config.transformer.norm = "pre"
    config.transformer.rotary = True
    config.masking = ConfigDict({"schedule": "cosine"})
    config.decoding = ConfigDict({"sampler": "confidence", "steps": 12})
    return config


def _causal() -> ConfigDict:
    config = _stage("lm")
    config.lm = ConfigDict({"layers": 4, "hidden": 128, "heads": 2, "mlp": 512, "dropout": 0.0})
    config.decoding = ConfigDict({"temperature": 1.0})
    return config


def _classes() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "study"
    config.seed = 0

    config.study = ConfigDict()
    config.study.labels = (200,)
    config.study.epochs = (10,)  # passes over them
    config.study.seeds = 3
    config.study.rates = ()
    config.study.rate_labels = 200
    config.study.validations = 2
    config.study.subject = "attention_pooling"
    config.study.also = ()
    config.study.corrupted_clips = 0  # there are no pixels to corrupt

    config.data = _data()
    config.methods = ConfigDict({
        network: {
            "recipe": "classifier", "batch_size": 4, "controls": ("shuffled_labels", "shuffled_time"),
            "examples": {"input": "codes"}, "tokenizer": {"run": config_dict.placeholder(str), "step": "best"},
            "classifier": {"network": network},
            "optimizer": {"learning_rate": rate, "muon": True, "b1": 0.9, "weight_decay": 0.1},
        } for network, rate in (("attention_pooling", 1e-3), ("linear_probe", 3e-3))
    })
    config.losses = ConfigDict({"label_smoothing": 0.0, "position": 0.0, "ema_decay": 0.98})

    config.train = ConfigDict()
    config.train.log_every = 50
    config.train.best = "eval/validation/accuracy"
    config.train.best_mode = "max"
    config.train.show = ("loss", "accuracy")

    config.evals = ConfigDict()
    config.evals.splits = ("test",)
    config.evals.limit = 500
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _tiny(config: ConfigDict) -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config.data.batch_size = 4
    network = config.transformer if config.recipe == "transformer" else config.lm
    network.update({"layers": 1, "hidden": 16, "heads": 2, "mlp": 32})
    if config.recipe == "transformer":
        config.decoding.steps = 3
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 4
    config.evals.batch_size = 4
    return config
