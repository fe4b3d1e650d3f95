"""MAGVIT's 3D-VQ tokenizer on UCF-101 at 128 px, with the settings of the paper (arXiv 2212.05199).

    pip install -e '.[tf]'                                        # TensorFlow, for the import only
    python run.py --config=configs/vqvae_ucf101.py --mode=import  # once: downloads 7 GB, writes 16 x 128 x 128 clips
    python run.py --config=configs/vqvae_ucf101.py                # the B model; vqvae_ucf101.py:L for L

Variants: B (default), L; released, released_L: the released code's choices where they differ from the paper's, which
are zero padding instead of reflect, and no LeCam regularisation.

Inflation from a 2-D tokenizer, as in the paper's best rows: train ``vqvae2d_images.py:B`` on ImageNet first, then

    python run.py --config=configs/vqvae_ucf101.py --config.init_from.workdir=runs/vqvae2d_images-B

Perceptual loss: the paper adds 0.1 times the distance between ImageNet ResNet-50 outputs. It is off here, since the
weights are yours to bring (torchvision's state dict, .pth or .safetensors). To turn it on, edit below:

    config.perceptual = ConfigDict({"network": "resnet50", "weights": "resnet50.pth"})
    config.losses.perceptual = 0.1

Hardware and time, as published: B at 0.41 steps/s on 16 TPU-v2 chips, 25 hours for 37,000 steps (500 epochs); L at 0.56
steps/s on 32 TPU-v4 chips, 37 hours for 74,000 (2000 epochs). Disk: about 120 GB for the clips before compression.

Scores, as published, all with the perceptual loss, on 10,000 clips of the training set (FVD / IS):

                        from scratch    average inflation    central inflation
    3D-VQ-B             127 / 82.1      103 / 84.8           58 / 87.0
    3D-VQ-L              45 / 87.1       35 / 88.3           25 / 88.9
    3D-VQ-L PSNR / SSIM  21.8 / 0.690    21.9 / 0.697        22.0 / 0.701

Besides, clips begin at multiples of 16 frames here, while the paper draws the start at random.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "B") -> ConfigDict:
    """The config of a variant."""
    variants = {"B": _config(64), "L": _config(128), "released": _released(64), "released_L": _released(128)}
    if variant not in variants:
        raise ValueError(f"configs/vqvae_ucf101.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "vqvae_ucf101" if variant == "B" else f"vqvae_ucf101-{variant}"
    return config


def _config(filters: int) -> ConfigDict:
    large = filters == 128
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "ucf101"
    config.data.options = ConfigDict({"num_frames": 16, "height": 128, "width": 128})
    config.data.transforms = ConfigDict()
    config.data.batch_size = 256 if large else 128

    config.tokenizer = ConfigDict()
    config.tokenizer.filters = filters
    config.tokenizer.channel_multipliers = (1, 2, 2, 4)
    config.tokenizer.temporal_downsample = (True, True, False)
    config.tokenizer.encoder_blocks = 2
    config.tokenizer.decoder_blocks = 2
    config.tokenizer.padding = "reflect"
    config.tokenizer.remat_levels = 1 if large else 0
    config.tokenizer.dtype = "bfloat16"
    config.tokenizer.quantizer = ConfigDict({
        "name": "vq", "num_codes": 1024, "embedding_dim": 256, "entropy_weight": 0.1,
    })

    config.generator = ConfigDict()
    config.losses = ConfigDict({"gan": "non_saturating", "adversarial": 0.1, "r1": 10.0, "lecam": 0.001})
    config.losses.perceptual = 0.0  # the paper's is 0.1
    config.losses.ema_decay = 0.999
    config.discriminator = ConfigDict({"filters": filters, "channel_multipliers": (2, 4, 4, 4, 4)})
    config.discriminator.remat_levels = 1 if large else 0
    config.perceptual = ConfigDict()  # needs your weights, see above
    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "inflation": "central"})

    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.0, "b2": 0.99})
    config.optimizer.warmup_steps = 37 if large else 74  # an epoch of 9,537 videos

    config.train = ConfigDict()
    config.train.steps = 74_000 if large else 37_000
    config.train.log_every = 50
    config.train.save_every = 1000
    config.train.show = ("loss", "reconstruction", "batch_perplexity")

    config.evals = ConfigDict()  # on test, once, at the end: the paper trains on all that is not test
    config.evals.every = 2000
    config.evals.limit = 256
    config.evals.batch_size = 32

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _released(filters: int) -> ConfigDict:
    config = _config(filters)
    config.tokenizer.padding = "zero"
    config.losses.lecam = 0.0
    return config
