"""The factorised encoder of ViViT (arXiv 2103.15691), its Model 2."""

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.encoder import Encoder
from videogvt.nn.classifiers.heads import Classifier, centred
from videogvt.ops.conv import space_to_depth

PLACES = nn.initializers.normal(0.2)  # beside a patch with a ball; a tenth of that drowns where the ball is


class ViViT(Classifier):
    """A transformer over the patches of each moment, then one over the moments' class tokens; heads on the latter's.

    The size is ours, for clips of 64 pixels; the patches are those of the paper's ViViT-B/16x2, which has ``hidden=768,
    num_heads=12, mlp=3072, spatial_layers=12, temporal_layers=4``, 115.1 million parameters with 400 classes.

    Attributes:
      tubelet: frames, rows and columns of a patch.
      hidden, num_heads, mlp: of both transformers.
      spatial_layers, temporal_layers: their depths.
      dropout: rate on both branches of every layer.
    """

    tubelet: tuple[int, int, int] = (2, 16, 16)
    hidden: int = 128
    num_heads: int = 4
    mlp: int = 512
    spatial_layers: int = 4
    temporal_layers: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        video_BTHWC = centred(video_BTHWC, tuple(self.tubelet), "ViViT").astype(self.dtype)
        x_BthwD = nn.Dense(self.hidden, name="tubelets", **self.dtypes)(space_to_depth(video_BTHWC, self.tubelet))
        batch, moments = x_BthwD.shape[:2]
        x_NLD = self._first(x_BthwD.reshape(batch * moments, -1, self.hidden), "spatial")
        x_BtD = self._encoder(self.spatial_layers, "spatial")(x_NLD, train=train)[:, 0].reshape(batch, moments, -1)
        x_BtD = self._encoder(self.temporal_layers, "temporal")(self._first(x_BtD, "temporal"), train=train)
        return self.heads(x_BtD[:, 0], train=train)

    def _encoder(self, layers: int, name: str) -> Encoder:
        return Encoder(
            layers, self.hidden, self.num_heads, self.mlp, self.dropout, self.dtype, self.param_dtype, name=name)

    def _first(self, x_BLD, name: str):
        """A class token before the others, and positions on all."""
        token_D = self.param(f"{name}_token", nn.initializers.zeros, (self.hidden,), self.param_dtype)
        first_B1D = jnp.broadcast_to(token_D.astype(x_BLD.dtype), (len(x_BLD), 1, self.hidden))
        x_BLD = jnp.concatenate([first_B1D, x_BLD], axis=1)
        places_LD = self.param(f"{name}_positions", PLACES, x_BLD.shape[1:], self.param_dtype)
        return x_BLD + places_LD.astype(x_BLD.dtype)
