"""MAGVIT's 3D-VQ tokenizer on BAIR robot pushing at 64 px, with the settings of the paper (arXiv 2212.05199).

    pip install -e '.[tf]'                                      # TensorFlow, for the import only
    python run.py --config=configs/vqvae_bair.py --mode=import  # once: downloads 30 GB, writes 30 x 64 x 64 clips
    python run.py --config=configs/vqvae_bair.py                # the B model; vqvae_bair.py:L for L

Variants: B (default), L; released, released_L: the released code's choices where they differ from the paper's, which
are zero padding instead of reflect, and no LeCam regularisation.

Training draws 16 of the 30 frames at random and mirrors half of the clips; evaluation takes the 16 in the middle.

Perceptual loss: the paper adds 0.1 times the distance between ImageNet ResNet-50 outputs. It is off here, since the
weights are yours to bring (torchvision's state dict, .pth or .safetensors). To turn it on, edit below:

    config.perceptual = ConfigDict({"network": "resnet50", "weights": "resnet50.pth"})
    config.losses.perceptual = 0.1

Hardware and time: not published for BAIR. A step costs a quarter of one at 128 px; B takes 135,200 of them at batch 128
(400 epochs), L as many at batch 256 (800 epochs). Disk: about 16 GB for the clips before compression.

Scores: the paper gives none for reconstruction on BAIR. With these tokenizers its transformer predicts frames at an FVD
of 76 (B) and 62 (L) by the standard protocol.
"""

from ml_collections import ConfigDict, config_dict


def get_config(variant: str = "B") -> ConfigDict:
    """The config of a variant."""
    variants = {"B": _config(64), "L": _config(128), "released": _released(64), "released_L": _released(128)}
    if variant not in variants:
        raise ValueError(f"configs/vqvae_bair.py has no variant {variant!r}; it has {', '.join(variants)}.")
    config = variants[variant]
    config.name = "vqvae_bair" if variant == "B" else f"vqvae_bair-{variant}"
    return config


def _config(filters: int) -> ConfigDict:
    large = filters == 128
    config = ConfigDict()
    config.recipe = "tokenizer"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "bair_robot_pushing_small"
    config.data.options = ConfigDict({"num_frames": 30, "height": 64, "width": 64})
    config.data.transforms = ConfigDict({
        "temporal_window": ConfigDict({"num_frames": 16}), "random_flip": ConfigDict(),
    })
    config.data.batch_size = 256 if large else 128

    config.tokenizer = ConfigDict()
    config.tokenizer.filters = filters
    config.tokenizer.channel_multipliers = (1, 2, 4)
    config.tokenizer.temporal_downsample = (True, True)
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
    config.discriminator = ConfigDict({"filters": filters, "channel_multipliers": (2, 4, 4, 4)})
    config.discriminator.remat_levels = 1 if large else 0
    config.perceptual = ConfigDict()  # needs your weights, see above
    config.init_from = ConfigDict({"workdir": config_dict.placeholder(str), "inflation": "central"})

    config.optimizer = ConfigDict({"learning_rate": 1e-4, "b1": 0.0, "b2": 0.99})
    config.optimizer.warmup_steps = 169 if large else 338  # an epoch of 43,264 videos

    config.train = ConfigDict()
    config.train.steps = 135_200
    config.train.log_every = 50
    config.train.save_every = 1000
    config.train.show = ("loss", "reconstruction", "batch_perplexity")

    config.evals = ConfigDict()  # on test, once, at the end: the paper trains on all that is not test
    config.evals.transforms = ConfigDict({"temporal_window": ConfigDict({"num_frames": 16, "random": False})})
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
