"""Linear maps and layer normalisation of rows of vectors, lowered to what the backend runs fast.

Which formulas run is a property of the backend and not of the model, as in ``ops.conv``: parameters and, up to float32
rounding, results and gradients are the same. XLA on the CPU sums over several leading axes at once in a slow loop; a
sum of rows is a product with a vector of ones there. And it first copies what a product with several contracted axes
needs, so that everything is a product of two matrices.
"""

import functools

import jax
import jax.numpy as jnp


def for_cpu(array) -> bool:
    """Whether the formulas for CPUs serve: their gradients are made for float32."""
    return jax.default_backend() == "cpu" and array.dtype == jnp.float32


def linear(x, kernel_DF, bias_F=None, *, dtype=None):
    """``x @ kernel + bias``.

    Args:
      x: (..., D).
      kernel_DF: (D, F), of the dtype of x.
      bias_F: (F,), or None.
      dtype: of the result, in which the products are summed; by default that of x.

    Returns:
      (..., F).
    """
    if not for_cpu(x):
        y = jnp.dot(x, kernel_DF, preferred_element_type=dtype)
        return y if bias_F is None else y + bias_F.astype(y.dtype)
    y_NF = _product(x.reshape(-1, x.shape[-1]), kernel_DF)
    y_NF = y_NF if bias_F is None else _shifted(y_NF, bias_F)
    return y_NF.reshape(*x.shape[:-1], kernel_DF.shape[-1])


@jax.custom_vjp
def _product(x_ND, kernel_DF):
    return jnp.dot(x_ND, kernel_DF)


def _product_forward(x_ND, kernel_DF):
    return _product(x_ND, kernel_DF), (x_ND, kernel_DF)


def _product_backward(saved, gradient_NF):
    x_ND, kernel_DF = saved
    return jnp.dot(gradient_NF, kernel_DF.T), jnp.dot(x_ND.T, gradient_NF)


_product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def _shifted(y_NF, bias_F):
    return y_NF + bias_F


_shifted.defvjp(lambda y_NF, bias_F: (y_NF + bias_F, None), lambda _, gradient_NF: (gradient_NF, _total(gradient_NF)))


def _total(x_NF):
    """The sum of all rows."""
    return jnp.dot(jnp.ones(len(x_NF), x_NF.dtype), x_NF)


def layer_norm(x, scale_D, bias_D, *, epsilon: float):
    """``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over the last axis, in float32.

    Args:
      x: (..., D) of any floating dtype, like scale and bias.

    Returns:
      (..., D) float32.
    """
    x, scale_D, bias_D = (array.astype(jnp.float32) for array in (x, scale_D, bias_D))
    norm = _normed if for_cpu(x) else lambda *arguments: _norm_forward(*arguments)[0]
    return norm(x.reshape(-1, x.shape[-1]), scale_D, bias_D, epsilon).reshape(x.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normed(x_ND, scale_D, bias_D, epsilon):
    return _norm_forward(x_ND, scale_D, bias_D, epsilon)[0]


def _norm_forward(x_ND, scale_D, bias_D, epsilon):
    mean_N1 = x_ND.mean(-1, keepdims=True)
    variance_N1 = jnp.maximum(jnp.square(x_ND).mean(-1, keepdims=True) - jnp.square(mean_N1), 0)
    rate_N1 = jax.lax.rsqrt(variance_N1 + epsilon)
    return (x_ND - mean_N1) * (rate_N1 * scale_D) + bias_D, (x_ND, mean_N1, rate_N1, scale_D)


def _norm_backward(_, saved, gradient_ND):
    x_ND, mean_N1, rate_N1, scale_D = saved
    normed_ND = (x_ND - mean_N1) * rate_N1
    along_ND = gradient_ND * normed_ND
    weights_D1 = scale_D[:, None] / len(scale_D)
    by_x = rate_N1 * (gradient_ND * scale_D - gradient_ND @ weights_D1 - normed_ND * (along_ND @ weights_D1))
    return by_x, _total(along_ND), _total(gradient_ND)


_normed.defvjp(_norm_forward, _norm_backward)
