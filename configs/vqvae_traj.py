"""The main job: a 3-D VQ tokenizer for trajectory videos, trained from scratch.

    python run.py --config=configs/vqvae_traj.py            # default: a laptop's two cores
    python run.py --config=configs/vqvae_traj.py:B          # the paper's B model, 128 px, for a GPU or TPU

Variants by argument:

    default     codes of 2 x 16 x 16 pixels that know their own cell alone, so that a transformer can model them
    quality     codes that know their neighbours and their clip: sharper, and hard to model
    4x8x8, 4x4x4  the default with cells of 4 x 8 x 8 and of 4 x 16 x 16 pixels, named by the codes of a clip
    cells       the default with cells of 1 x 16 x 16: a per-frame tokenizer, whose decoder alone sees time
    fsq         the default with 1,000 codes of finite scalars, [8, 5, 5, 5]
    gan         quality's run, taken further with a discriminator and a perceptual network (trained by
                configs/classifier_traj.py:judge)
    v2          MAGVIT-v2's network in small: causal, 5 x 8 x 8 codes of signs for clips of 17 frames of any length
    B, L, B64, L64  the paper's networks and losses, for a GPU or TPU
    tiny, v2_tiny  two steps, for the tests

docs/record.md has hardware, time and scores of each on the test split. B and L take steps in the tests, by shape
alone, and were not trained.
"""

from ml_collections import ConfigDict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {
        "default": _default, "quality": _quality, "cells": lambda: _cells((1, 16, 16), 512),
        "4x8x8": lambda: _cells((4, 8, 8)), "4x4x4": lambda: _cells((4, 16, 16)), "fsq": _fsq, "gan": _gan,
        "v2": _v2, "v2_tiny": _v2_tiny, "B": _paper_b, "L": _paper_l, "B64": _paper_b64, "L64": _paper_l64,
        "tiny": _tiny,
    }
    if variant not in variants:
        raise ValueError(f"configs/vqvae_traj.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]()
    config.name = "vqvae_traj" if variant == "default" else f"vqvae_traj-{variant}"
    return config


def _default() -> ConfigDict:
    """Without GAN and perceptual loss, as the report says."""
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 8

    config.tokenizer = ConfigDict()  # every code is of 2 x 16 x 16 pixels alone: 8 x 4 x 4 codes for 16 x 64 x 64
    config.tokenizer.conv = "point"
    config.tokenizer.decoder_reach = (7, 3, 3)  # the decoder hears a cell's neighbours, in time three on each side
    config.tokenizer.stem = (2, 16, 16)
    config.tokenizer.filters = 192
    config.tokenizer.channel_multipliers = (1,)
    config.tokenizer.temporal_downsample = ()
    config.tokenizer.encoder_blocks = (2, 0)
    config.tokenizer.decoder_blocks = (3, 0)
    config.tokenizer.norm_groups = 1
    config.tokenizer.norm_scope = "position"
    config.tokenizer.norm_epsilon = 0.1
    config.tokenizer.padding = "zero"
    config.tokenizer.input_bias = 1.0  # the encoder sees what differs from white ...
    config.tokenizer.input_threshold = 0.04  # ... by more than a camera's noise
    config.tokenizer.input_scale = 2.0
    config.tokenizer.latent_bias = 0.3  # the latent of an empty cell is not zero
    config.tokenizer.output_bias = 1.0  # training starts at the all-white video
    config.tokenizer.output_scale = 0.1
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 16, "entropy_weight": 0.0, "latent_normalize": True,
        "commitment_weight": 1.0,
    })

    config.generator = ConfigDict()
    config.generator.restart_below = 0.02  # ours: of about 0.06 tokens a step for each code that says something
    config.generator.restart_from = "speaking"
    config.generator.input_noise = 0.016
    config.generator.continuous_steps = 300  # hues are learned before there are codes, which would first say places

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


def _quality() -> ConfigDict:
    """Codes that see their neighbours and their whole clip: sharper, and nearly all of them say something."""
    config = _default()
    config.tokenizer = ConfigDict()  # patches of 4 x 4 x 4 pixels, then halved: 4 x 8 x 8 codes for 16 x 64 x 64
    config.tokenizer.conv = "split"
    config.tokenizer.stem = (4, 4, 4)
    config.tokenizer.filters = 64
    config.tokenizer.channel_multipliers = (1, 2)
    config.tokenizer.temporal_downsample = (False,)
    config.tokenizer.encoder_blocks = (2, 0, 0)  # codes that see little of their neighbours are easier to model
    config.tokenizer.decoder_blocks = (1, 2, 0)
    config.tokenizer.norm_groups = 16
    config.tokenizer.padding = "zero"
    config.tokenizer.input_bias = 1.0  # the encoder sees what differs from white
    config.tokenizer.input_scale = 2.0
    config.tokenizer.output_bias = 1.0  # training starts at the all-white video
    config.tokenizer.output_scale = 0.1
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 16, "entropy_weight": 0.0, "latent_normalize": True,
    })

    config.generator = ConfigDict()
    config.generator.restart_below = 0.04  # ours: of 4 tokens a step that a code stands for on average
    config.losses.background_weight = 2.0  # ours: a dot on white counts for more
    config.data.batch_size = 4  # many small steps learn more than few large ones
    config.train.steps = 3600
    config.train.save_every = 600
    config.evals.every = 1200
    return config


def _cells(stem: tuple[int, int, int], codes: int = 1024) -> ConfigDict:
    """The default with cells of another size (frames, rows and columns of pixels) and as many codes."""
    config = _default()
    config.tokenizer.stem = stem
    config.tokenizer.quantizer.num_codes = codes
    return config


def _fsq() -> ConfigDict:
    """The default with 1,000 codes of finite scalars in place of a codebook."""
    config = _default()
    config.tokenizer.quantizer = ConfigDict({"name": "fsq", "levels": (8, 5, 5, 5)})
    config.generator = ConfigDict({"input_noise": config.generator.input_noise})
    return config


def _gan() -> ConfigDict:
    """Quality's run taken further with a small discriminator and the perceptual loss on the judge's features."""
    config = _quality()
    config.init_from = ConfigDict({"workdir": "runs/vqvae_traj-quality", "inflation": "none"})
    config.generator.restart_below = 0.0  # the codebook is in use
    config.losses.gan = "non_saturating"
    config.losses.perceptual = 0.1
    config.discriminator = ConfigDict({"filters": 8, "channel_multipliers": (2, 4, 4)})
    config.perceptual = ConfigDict({"network": "judge", "workdir": "runs/classifier_traj-judge"})
    config.optimizer.learning_rate = 1e-3
    config.train.steps = 600
    config.train.save_every = 200
    config.evals.every = 300
    return config


def _v2() -> ConfigDict:
    """A causal network whose norms are over frames: clips of 1 + 4 k frames in chunks, a picture as a clip of one.

    A code is of 4 x 8 x 8 pixels, and of the first frame's 8 x 8. It was not trained to its end.
    """
    config = _default()
    config.data.options.config = "mono64_17"
    config.data.batch_size = 4
    config.tokenizer = ConfigDict({
        "conv": "causal", "norm_scope": "frame", "padding": "zero", "stem": (1, 2, 2), "filters": 16,
        "channel_multipliers": (1, 2, 4), "temporal_downsample": (True, True), "encoder_blocks": (1, 1, 1, 0),
        "decoder_blocks": (1, 1, 1, 0), "norm_groups": 8, "norm_epsilon": 1e-3,
        "input_bias": 1.0, "input_scale": 2.0, "output_bias": 1.0, "output_scale": 0.1,
        "quantizer": ConfigDict({"name": "lfq", "num_bits": 10, "entropy_weight": 0.01}),
    })
    config.generator = ConfigDict({"input_noise": config.generator.input_noise})
    config.losses.background_weight = 2.0
    config.losses.entropy_boost = 2.0  # three times the entropy's weight at first, as MAGVIT-v2 has it
    config.losses.entropy_boost_steps = 1000
    config.optimizer.learning_rate = 2e-3
    config.train.steps = 3600
    return config


def _v2_tiny() -> ConfigDict:
    config = _tiny()
    transforms = {"temporal_window": {"num_frames": 5}}
    config.data.transforms = ConfigDict(transforms)
    config.evals.transforms = ConfigDict({"temporal_window": {"num_frames": 5, "random": False}})
    config.tokenizer = _v2().tokenizer
    config.tokenizer.filters = 8
    config.tokenizer.quantizer.num_bits = 5
    config.generator = ConfigDict()
    return config


def _paper(filters: int, size: int) -> ConfigDict:
    """The paper's model and losses on our clips, without its perceptual network, whose weights you have to name."""
    config = _default()
    wide = (1, 2, 2, 4) if size == 128 else (1, 2, 4)
    config.data.options.config = f"mono{size}"
    config.data.batch_size = 128 if filters == 64 else 256
    config.tokenizer = ConfigDict({
        "filters": filters, "channel_multipliers": wide, "temporal_downsample": (True, True, False),
        "encoder_blocks": 2, "decoder_blocks": 2, "padding": "reflect", "remat_levels": 0 if filters == 64 else 1,
        "dtype": "bfloat16",
        "quantizer": ConfigDict({"name": "vq", "num_codes": 1024, "embedding_dim": 256, "entropy_weight": 0.1}),
    })
    config.generator = ConfigDict()
    config.losses = ConfigDict({"gan": "non_saturating", "ema_decay": 0.999})
    config.discriminator = ConfigDict({
        "filters": filters, "channel_multipliers": (2, 4, 4, 4, 4) if size == 128 else (2, 4, 4, 4),
    })
    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.0, "b2": 0.99, "warmup_steps": 62})
    config.train.steps = 31250 if filters == 64 else 62500
    config.train.save_every = 1000
    config.evals.every = 2000
    return config


def _paper_b() -> ConfigDict:
    return _paper(64, 128)


def _paper_l() -> ConfigDict:
    return _paper(128, 128)


def _paper_b64() -> ConfigDict:
    return _paper(64, 64)


def _paper_l64() -> ConfigDict:
    return _paper(128, 64)


def _tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _default()
    config.data.options.config = "tiny"
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
