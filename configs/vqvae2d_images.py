"""A 2-D tokenizer, on pictures or on single frames of videos: what 3-D ones are inflated from (MAGVIT, section 3.1).

    python run.py --config=configs/vqvae2d_images.py --config.data.options.folder=DIR         # a folder of pictures
    python run.py --config=configs/vqvae2d_images.py:frames --config.data.options.folder=DIR  # or of videos

Variants by argument:

    default        a small network on 64 x 64 pictures, 16 x 16 codes, for a laptop
    frames         the same on single frames of a folder of videos
    traj_frames    the same on single frames of the trajectories
    B, B64         the paper's 2-D network and losses at 128 px and at 64 px, for a GPU or TPU
    tiny           two steps, for the tests

Then inflate it. What fits is taken over, and a warning lists what does not; all of it fits a 3-D network (conv "3d" or
"2plus1d") with the same filters, multipliers, blocks and code width, and patches of one frame. For one of conv "split",
train here with --config.tokenizer.conv=split2d.

    python run.py --config=configs/vqvae_ucf101.py --config.init_from.workdir=runs/vqvae2d_images-B

Hardware and time: a step of the default, of 8 pictures, costs 0.1 s of one core of an AMD EPYC (avx512f), 1,200 take
about a minute on two; a large folder wants more, --config.train.steps=N. docs/record.md has what ``frames`` makes of
four sample videos. B has 13.8 M parameters and needs a GPU, ``--mode=plan`` estimates for how long. Expected scores
depend on the pictures; the paper's 2-D baseline, of L's size, has a PSNR of 21.5 dB and an SSIM of 0.685 on UCF-101.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default(), "frames": _frames(), "traj_frames": _traj_frames(),
                "B": _paper(128), "B64": _paper(64), "tiny": _tiny()}
    if variant not in variants:
        raise ValueError(f"configs/vqvae2d_images.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "vqvae2d_images" if variant == "default" else f"vqvae2d_images-{variant}"
    return config


def _default() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "images"
    config.data.options = ConfigDict({"folder": "", "height": 64, "width": 64})
    # A few pictures show few colours, and codes learn no others.
    config.data.transforms = ConfigDict({"random_flip": ConfigDict(), "random_colours": ConfigDict()})
    config.data.batch_size = 8

    config.tokenizer = ConfigDict()  # 16 x 16 codes for 64 x 64
    config.tokenizer.conv = "2d"
    config.tokenizer.stem = (1, 4, 4)
    config.tokenizer.filters = 64
    config.tokenizer.channel_multipliers = (1,)
    config.tokenizer.temporal_downsample = ()
    config.tokenizer.encoder_blocks = (2, 0)  # a code sees its own cell and four more on each side
    config.tokenizer.decoder_blocks = (3, 0)
    config.tokenizer.norm_groups = 1
    config.tokenizer.norm_scope = "position"  # what a cell becomes does not depend on the rest of the picture
    config.tokenizer.norm_epsilon = 0.01
    config.tokenizer.padding = "zero"
    config.tokenizer.input_bias = 0.5  # the encoder sees values of mean 0 and std 1, about
    config.tokenizer.input_scale = 4.0
    config.tokenizer.output_bias = 0.5  # training starts at the all-grey picture
    config.tokenizer.output_scale = 0.1
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 16, "entropy_weight": 0.0, "latent_normalize": True,
        "commitment_weight": 1.0,
    })

    config.generator = ConfigDict()
    config.generator.restart_below = 0.04  # of 2 tokens a step that a code stands for on average
    config.generator.continuous_steps = 100  # colours are learned before there are codes
    config.losses = ConfigDict()
    config.losses.reconstruction = 10.0
    config.losses.gan = "none"
    config.losses.ema_decay = 0.99
    config.discriminator = ConfigDict()
    config.perceptual = ConfigDict()
    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "inflation": "none"})

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 50
    config.optimizer.muon = True

    config.train = ConfigDict()
    config.train.steps = 1200
    config.train.log_every = 100
    config.train.save_every = 300
    config.train.best = "eval/validation/psnr"
    config.train.best_mode = "max"
    config.train.show = ("loss", "reconstruction", "batch_perplexity")

    config.evals = ConfigDict()
    config.evals.every = 300
    config.evals.limit = 256  # validation pictures per turn
    config.evals.batch_size = 16

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _frames() -> ConfigDict:
    """One frame of each clip, drawn anew each time; evaluated on whole clips, frame by frame."""
    config = _default()
    config.data.source = "videos"
    config.data.options = ConfigDict({"folder": "", "num_frames": 16, "height": 64, "width": 64})
    config.data.transforms = ConfigDict({"sample_frames": ConfigDict(), **config.data.transforms})
    return config


def _traj_frames() -> ConfigDict:
    config = _frames()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict({"sample_frames": ConfigDict()})
    config.tokenizer.input_bias = config.tokenizer.output_bias = 1.0
    config.tokenizer.input_scale = 2.0
    config.losses.background_weight = 5.0
    return config


def _paper(size: int) -> ConfigDict:
    """The perceptual loss, which needs weights that you have to name, is off."""
    config = _default()
    config.data.options.height = config.data.options.width = size
    config.data.transforms = ConfigDict()
    config.data.batch_size = 128
    config.tokenizer = ConfigDict({
        "conv": "2d", "filters": 64, "channel_multipliers": (1, 2, 2, 4) if size == 128 else (1, 2, 4),
        "temporal_downsample": (True, True, False), "encoder_blocks": 2, "decoder_blocks": 2, "padding": "reflect",
        "dtype": "bfloat16",
        "quantizer": ConfigDict({"name": "vq", "num_codes": 1024, "embedding_dim": 256, "entropy_weight": 0.1}),
    })
    config.generator = ConfigDict()
    config.losses = ConfigDict({"gan": "non_saturating", "lecam": 0.001, "ema_decay": 0.999})
    config.discriminator = ConfigDict({
        "conv": "2d", "filters": 64, "channel_multipliers": (2, 4, 4, 4, 4) if size == 128 else (2, 4, 4, 4),
    })
    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.0, "b2": 0.99, "warmup_steps": 1000})
    config.train.steps = 200_000
    config.train.save_every = 2000
    config.evals.every = 5000
    return config


def _tiny() -> ConfigDict:
    config = _default()
    config.data.options = ConfigDict({"folder": "", "height": 32, "width": 32})
    config.data.batch_size = 4
    config.tokenizer.filters = 8
    config.tokenizer.quantizer.num_codes = 32
    config.tokenizer.quantizer.embedding_dim = 8
    config.generator.continuous_steps = 1
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = config.evals.batch_size = 4
    return config
