"""A tokenizer for your own videos: any folder of mp4, avi, mov, webm, mkv or gif files.

    pip install -e '.[video]'                                                                  # PyAV
    python run.py --config=configs/vqvae_videos.py --config.data.options.folder=DIR            # trains and reports
    python run.py --config=configs/vqvae_videos.py --config.data.options.folder=DIR --mode=tokenize

Variants by argument:

    default   a small network on 16 x 64 x 64 clips, 4 x 16 x 16 codes, for a laptop
    gan       the same with a small discriminator, whose gradient the generator feels from step 2000 on
    B64, B    the paper's network and losses at 64 px and at 128 px, for a GPU or TPU
    from_maskgit    a 3-D network that begins as MaskGIT's tokenizer of ImageNet, inflated at the centre: 16 x 128 x 128
              clips, 4 x 8 x 8 codes, for a GPU or TPU. Name the file, --config.init_from.workdir=maskgit:FILE
    tiny      two steps, for the tests

Other sizes: --config.data.options.height=128 --config.data.options.width=128, multiples of 4; clips are scaled to cover
the size and cropped. Other settings of the folder (``fps``, ``stride``, ``short``, ``shares``, ``split_lists``, ...)
are those of ``videogvt.inputs.videos.VideoFolderConfig``. Subfolders are classes.

From another run of the same network, or the name of one that ships:
    --config.init_from.workdir=runs/vqvae_traj --config.init_from.inflation=none

Hardware and time: a step of the default costs 0.24 s of one core of an AMD EPYC (avx512f), 1,200 of them about three
minutes of two; --mode=plan says how long on your machine. docs/record.md has what it comes to on four sample videos,
beside H.264 and H.265. A large folder wants more steps, --config.train.steps=N. B64, B and from_maskgit were not timed.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    variants = {"default": _default(), "gan": _gan(), "B64": _paper(64), "B": _paper(128),
                "from_maskgit": _from_maskgit(), "tiny": _tiny()}
    if variant not in variants:
        raise ValueError(f"configs/vqvae_videos.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "vqvae_videos" if variant == "default" else f"vqvae_videos-{variant}"
    return config


def _default() -> ConfigDict:
    """GAN and perceptual loss are off."""
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "videos"
    config.data.options = ConfigDict({"folder": "", "num_frames": 16, "height": 64, "width": 64})
    # A few videos show few colours, and codes learn no others.
    config.data.transforms = ConfigDict({"random_flip": ConfigDict(), "random_colours": ConfigDict()})
    config.data.batch_size = 4

    config.tokenizer = ConfigDict()  # 4 x 16 x 16 codes for 16 x 64 x 64
    config.tokenizer.conv = "split"
    config.tokenizer.stem = (4, 4, 4)
    config.tokenizer.filters = 64
    config.tokenizer.channel_multipliers = (1,)
    config.tokenizer.temporal_downsample = ()
    config.tokenizer.encoder_blocks = (2, 0)  # a code sees its own cell and two more on each side
    config.tokenizer.decoder_blocks = (3, 0)
    config.tokenizer.norm_groups = 1
    config.tokenizer.norm_scope = "position"  # what a cell becomes does not depend on the rest of the clip
    config.tokenizer.norm_epsilon = 0.01
    config.tokenizer.padding = "zero"
    config.tokenizer.input_bias = 0.5  # the encoder sees values of mean 0 and std 1, about
    config.tokenizer.input_scale = 4.0
    config.tokenizer.output_bias = 0.5  # training starts at the all-grey video
    config.tokenizer.output_scale = 0.1
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 16, "entropy_weight": 0.0, "latent_normalize": True,
        "commitment_weight": 1.0,
    })

    config.generator = ConfigDict()
    config.generator.restart_below = 0.04  # of 4 tokens a step that a code stands for on average
    config.generator.continuous_steps = 150  # colours are learned before there are codes
    config.losses = ConfigDict()
    config.losses.reconstruction = 10.0
    config.losses.gan = "none"
    config.losses.ema_decay = 0.99
    config.discriminator = ConfigDict()
    config.perceptual = ConfigDict()
    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "inflation": "central"})

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 4e-3
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
    config.evals.limit = 256  # validation clips per turn
    config.evals.batch_size = 16

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _gan() -> ConfigDict:
    config = _default()
    config.losses.gan = "non_saturating"
    config.losses.gan_start = 2000
    config.losses.gan_ramp = 500
    config.train.steps = 4000
    config.discriminator = ConfigDict({"filters": 16, "channel_multipliers": (2, 4, 4)})
    return config


def _paper(size: int) -> ConfigDict:
    """The perceptual loss, which needs weights that you have to name, is off."""
    config = _default()
    config.data.options.height = config.data.options.width = size
    config.data.transforms = ConfigDict()
    config.data.batch_size = 128
    config.tokenizer = ConfigDict({
        "filters": 64, "channel_multipliers": (1, 2, 2, 4) if size == 128 else (1, 2, 4),
        "temporal_downsample": (True, True, False), "encoder_blocks": 2, "decoder_blocks": 2, "padding": "reflect",
        "remat_levels": 0, "dtype": "bfloat16",
        "quantizer": ConfigDict({"name": "vq", "num_codes": 1024, "embedding_dim": 256, "entropy_weight": 0.1}),
    })
    config.generator = ConfigDict()
    config.losses = ConfigDict({"gan": "non_saturating", "lecam": 0.001, "ema_decay": 0.999})
    config.discriminator = ConfigDict({
        "filters": 64, "channel_multipliers": (2, 4, 4, 4, 4) if size == 128 else (2, 4, 4, 4),
    })
    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.0, "b2": 0.99, "warmup_steps": 100})
    config.train.steps = 40_000
    config.train.save_every = 1000
    config.evals.every = 2000
    return config


def _from_maskgit() -> ConfigDict:
    """All of the tokenizer's leaves are taken over; the discriminator, which MaskGIT gives nobody, begins at random."""
    config = _paper(128)
    config.data.batch_size = 32
    config.tokenizer = ConfigDict({
        "filters": 128, "channel_multipliers": (1, 1, 2, 2, 4), "temporal_downsample": (True, True, False, False),
        "encoder_blocks": 2, "decoder_blocks": 2, "padding": "zero", "shortcut": "output", "remat_levels": 2,
        "dtype": "bfloat16",
        "quantizer": ConfigDict({"name": "vq", "num_codes": 1024, "embedding_dim": 256, "entropy_weight": 0.1}),
    })
    config.init_from.workdir = "maskgit:tokenizer_imagenet256_checkpoint"
    return config


def _tiny() -> ConfigDict:
    config = _default()
    config.data.options = ConfigDict({"folder": "", "num_frames": 8, "height": 32, "width": 32})
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
