"""The tokenizer of moving digits: codes of their own 2 x 8 x 8 pixels for clips of two bouncing digits.

    python run.py --config=configs/vqvae_digits.py                  # for a laptop's two cores
    python run.py --config=configs/vqvae_digits.py --mode=preview   # a gallery of the data set

Variants by argument:

    default       8 x 8 x 8 codes for 16 x 64 x 64, on the project's own digits, which are built first
    moving_mnist  the same on Moving MNIST as TFDS distributes it: import it first, with the extra `tf`, by
                  --config=configs/vqvae_digits.py:moving_mnist --mode=import
    tiny          two steps, for the tests

The settings are those of configs/vqvae_traj.py, whose codes, too, are of their own pixels alone so that a transformer
can model them. Three things differ. The background is black, so nothing is added to what the encoder sees and the
decoder begins at black. Cells are 8 x 8 pixels instead of 16 x 16, because strokes, not a dot, must be named, and a
stroke in a larger cell takes more shapes than there are codes. And there are no colours to learn before codes.

No run of it was measured yet; see docs/digits.md.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default, "moving_mnist": _moving_mnist, "tiny": _tiny}
    if variant not in variants:
        raise ValueError(f"configs/vqvae_digits.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "vqvae_digits" if variant == "default" else f"vqvae_digits-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "digits"
    config.data.options = ConfigDict({"config": "digits64"})
    config.data.transforms = ConfigDict()  # digits have no mirror images
    config.data.batch_size = 8

    config.tokenizer = ConfigDict()  # every code is of 2 x 8 x 8 pixels alone: 8 x 8 x 8 codes for 16 x 64 x 64
    config.tokenizer.conv = "point"
    config.tokenizer.decoder_reach = (3, 3, 3)  # the decoder hears the neighbours of a cell, so that strokes join
    config.tokenizer.stem = (2, 8, 8)
    config.tokenizer.filters = 128
    config.tokenizer.channel_multipliers = (1,)
    config.tokenizer.temporal_downsample = ()
    config.tokenizer.encoder_blocks = (2, 0)
    config.tokenizer.decoder_blocks = (3, 0)
    config.tokenizer.norm_groups = 1
    config.tokenizer.norm_scope = "position"
    config.tokenizer.norm_epsilon = 0.1
    config.tokenizer.padding = "zero"
    config.tokenizer.input_bias = 0.0  # the background is black, and black is 0 already
    config.tokenizer.input_threshold = 0.0  # nothing is noise here
    config.tokenizer.input_scale = 2.0
    config.tokenizer.latent_bias = 0.3  # the latent of an empty cell is not zero
    config.tokenizer.output_bias = 0.0  # training starts at the all-black video
    config.tokenizer.output_scale = 0.1
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 16, "entropy_weight": 0.0, "latent_normalize": True,
        "commitment_weight": 1.0,
    })

    config.generator = ConfigDict()
    config.generator.restart_below = 0.02
    config.generator.restart_from = "speaking"
    config.generator.continuous_steps = 200  # strokes are learned before there are codes

    config.losses = ConfigDict()
    config.losses.reconstruction = 10.0
    config.losses.gan = "none"
    config.losses.ema_decay = 0.99

    config.discriminator = ConfigDict()
    config.perceptual = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 4e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 50
    config.optimizer.muon = True

    config.train = ConfigDict()
    config.train.steps = 2400
    config.train.log_every = 100
    config.train.save_every = 600
    config.train.best = "eval/validation/psnr"
    config.train.best_mode = "max"
    config.train.show = ("loss", "reconstruction", "batch_perplexity")

    config.evals = ConfigDict()
    config.evals.every = 1200
    config.evals.limit = 256  # validation clips per turn
    config.evals.batch_size = 32

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _moving_mnist() -> ConfigDict:
    """The first 16 of the 20 frames of each clip of Moving MNIST; TFDS has its test set alone, 10,000 clips."""
    config = _default()
    config.data.source = "moving_mnist"
    config.data.options = ConfigDict({"num_frames": 16, "height": 64, "width": 64})
    return config


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _default()
    config.data.options.config = "digits_tiny"
    config.data.batch_size = 4
    config.tokenizer.filters = 8
    config.tokenizer.quantizer.num_codes = 32
    config.tokenizer.quantizer.embedding_dim = 8
    config.generator.continuous_steps = 1
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 4
    config.evals.batch_size = 4
    return config
