"""Who reads digits in clips that were predicted or generated; neither ever sees what a generator makes in training.

    python run.py --config=configs/classifier_digits.py          # single digits, for evals.generation.reader
    python run.py --config=configs/classifier_digits.py:pairs    # the pair of a whole clip, for evals.generation.judge

Variants by argument:

    default  ten classes: single digits, cut out of frames of real clips in which both are apart
    pairs    55 classes: which two digits a clip shows
    tiny, pairs_tiny  two steps, for the tests

A single digit is a square of 24 pixels about its centre, so that parts of the other digit may be in it; the judge's
network sees it in cells of 2 x 2 pixels. There are two for each clip, 16,000 in all, of 1,258 images; those of the test
split are of 359 others. It is to name 97 % of the single digits of real test clips at least, which a support vector
machine on the enlarged images does (tests/inputs/test_digits.py). Neither was trained yet.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "pairs": _pairs, "tiny": _tiny, "pairs_tiny": _pairs_tiny}
    if variant not in variants:
        raise ValueError(f"configs/classifier_digits.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "classifier_digits" if variant == "default" else f"classifier_digits-{variant.replace('_', '-')}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "classifier"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "digits"
    config.data.options = ConfigDict({"config": "digits64", "crops": 24})
    config.data.transforms = ConfigDict()  # digits have no mirror images
    config.data.batch_size = 64

    config.classifier = ConfigDict()
    config.classifier.network = "judge"
    config.classifier.conv = "2d"  # there is one frame
    config.classifier.patch = (1, 2, 2)
    config.classifier.filters = 64
    config.classifier.blocks = 3  # each cell sees all of a digit
    config.classifier.heads = 16  # places to look at: strokes, ends and holes
    config.classifier.width = 128
    config.classifier.motion_blocks = 0  # nothing moves

    config.losses = ConfigDict()
    config.losses.label_smoothing = 0.05
    config.losses.ema_decay = 0.99

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05

    config.train = ConfigDict()
    config.train.steps = 1500  # six passes
    config.train.log_every = 50
    config.train.save_every = 250
    config.train.best = "eval/validation/accuracy"
    config.train.best_mode = "max"
    config.train.show = ("loss", "accuracy")

    config.evals = ConfigDict()
    config.evals.every = 250
    config.evals.limit = None  # of validation; all
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _pairs() -> ConfigDict:
    """Whole clips in cells of 2 x 4 x 4 pixels; a clip's sixteen frames show each digit without the other at times."""
    config = _default()
    config.data.options = ConfigDict({"config": "digits64"})
    config.data.batch_size = 16
    config.classifier.conv = "2plus1d"
    config.classifier.patch = (2, 4, 4)
    config.classifier.motion_blocks = 1
    config.train.steps = 4000  # eight passes
    config.train.save_every = 500
    config.evals.every = 500
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    return _small(_default(), {"config": "digits_tiny", "crops": 12})


def _pairs_tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    return _small(_pairs(), {"config": "digits_tiny"})


def _small(config: ConfigDict, options: dict) -> ConfigDict:
    config.data.options = ConfigDict(options)
    config.data.batch_size = 4
    config.classifier.filters = 8
    config.classifier.blocks = 1
    config.classifier.heads = 2
    config.classifier.width = 16
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 10
    config.evals.batch_size = 4
    return config
