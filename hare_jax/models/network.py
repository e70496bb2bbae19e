"""Perceptrons as flax modules: the network behind the classifier, the autoencoder and the adversary.

Notation: a perceptron maps `x` (in,) to (out,) by layers `weight @ x + bias` with an activation between them. Its
parameters are a nested dict, `{"layer_0": {"weight": (out, in), "bias": (out,)}, "layer_1": ...}`; its widths follow
from their shapes. Weights are (out, in), not flax's (in, out): under `vmap` the batch of rows is then the last axis of
each product, which is the fast layout.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from hare_jax.base import require

Params = dict[str, dict[str, Array]]

_ROUNDING_ULPS = 64  # a column whose deviations are below so many units of rounding of its mean is constant


class Layer(NamedTuple):
    """One affine layer."""

    weight: Array  # (out, in)
    bias: Array  # (out,)


class Scaling(NamedTuple):
    """Standardisation: the columns of `(x - centre) * factor` have mean 0 and s.d. 1."""

    centre: Array  # (d,)
    factor: Array  # (d,) 1 / s.d.; 0 in a column that is constant or varies by rounding alone


class Affine(nn.Module):
    """`weight @ x + bias` of a vector. The product is exact float32 on every device.

    The reduced precision that GPUs use otherwise moves a decision boundary by more than a recourse's margin. The bias
    is a column of the matrix: `vmap` moves the batch of a sum to its first axis, and each layer would be transposed.
    """

    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `x` (in,) to (width,)."""
        weight = self.param("weight", nn.initializers.zeros, (self.width, x.shape[0]), x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), x.dtype)
        joined = jnp.concatenate([weight, bias[:, None]], axis=1)
        return jnp.dot(joined, jax.lax.pad(x, jnp.ones((), x.dtype), [(0, 1, 0)]), precision="highest")


class Perceptron(nn.Module):
    """Affine layers of `widths` with `activation` between them.

    Flax's own `init` gives zeros, which `parameter_shapes` evaluates for their shapes alone: `draw_uniform` and
    `draw_normal` draw the initial parameters.
    """

    widths: tuple[int, ...]
    activation: Callable[[Array], Array] = nn.relu

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `x` (in,) to (widths[-1],)."""
        *hidden, last = (Affine(width, name=_name(index)) for index, width in enumerate(self.widths))
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def apply(params: Params, x: Array, activation: Callable[[Array], Array] = nn.relu) -> Array:
    """Run `x` (in,) through the perceptron with parameters `params`: (out,)."""
    widths = tuple(layer.bias.shape[0] for layer in to_layers(params))
    return _apply(Perceptron(widths, activation, parent=None), params, x)


@partial(jax.jit, static_argnums=0, inline=True)  # flax's checks of shapes run once, not at each trace of a caller
def _apply(module: Perceptron, params: Params, x: Array) -> Array:
    return cast(Array, module.apply({"params": params}, x))


def parameter_shapes(module: Perceptron, num_inputs: int, dtype: DTypeLike = float) -> Params:
    """The parameters of `module` for vectors of `num_inputs`, a `jax.ShapeDtypeStruct` each."""
    x = jax.ShapeDtypeStruct((num_inputs,), jnp.result_type(dtype))  # `float` is float32 without x64
    return jax.eval_shape(module.init, jax.random.key(0), x)["params"]


def is_weight(params: Params) -> dict[str, dict[str, bool]]:
    """Which leaves of `params` are weights, not biases."""
    return {name: {"weight": True, "bias": False} for name in params}


def scaling(rows: Array) -> Scaling:
    """The standardisation of `rows` (n, d)."""
    centre = jnp.mean(rows, axis=0, keepdims=True)
    largest = jnp.max(jnp.abs(rows - centre), axis=0, keepdims=True)  # the squares of large numbers are infinite
    constant = largest <= _ROUNDING_ULPS * jnp.finfo(rows.dtype).eps * jnp.abs(centre)
    largest = jnp.where(constant, 1, largest)
    factor = jnp.where(constant, 0, 1 / (largest * jnp.std(rows / largest, axis=0, keepdims=True)))
    return Scaling(centre[0], factor[0])


def standardise(scale: Scaling, x: Array) -> Array:
    """The row `x` (d,) in standardised units."""
    return (x - scale.centre) * scale.factor


def fold(scale: Scaling, params: Params) -> Params:
    """The parameters of `x -> apply(params, standardise(scale, x))`: only the first layer is another one."""
    first, *rest = to_layers(params)
    weight = first.weight * scale.factor[None, :]
    return from_layers([Layer(weight, first.bias - jnp.dot(weight, scale.centre, precision="highest")), *rest])


def draw_uniform(key: Array, shapes: Params) -> Params:
    """Draw the parameters of each layer uniformly within 1/sqrt(fan-in), as PyTorch's linear layer does."""
    keys = jax.random.split(key, len(shapes))
    return from_layers(_uniform_layer(*both) for both in zip(keys, to_layers(shapes), strict=True))


def _uniform_layer(key: Array, shape: Layer) -> Layer:
    key_weight, key_bias = jax.random.split(key)
    limit = shape.weight.shape[1] ** -0.5
    draw = partial(jax.random.uniform, minval=-limit, maxval=limit)
    weight = draw(key_weight, shape.weight.shape, shape.weight.dtype)
    return Layer(weight, draw(key_bias, shape.bias.shape, shape.bias.dtype))


def draw_normal(key: Array, shapes: Params) -> Params:
    """Draw weights from a normal distribution of s.d. 1/sqrt(fan-in), all at once, which compiles soonest; biases 0."""
    layers = to_layers(shapes)
    ends = np.cumsum([layer.weight.size for layer in layers])
    parts = jnp.split(jax.random.normal(key, (ends[-1],), layers[0].weight.dtype), ends[:-1])
    return from_layers(_scaled_layer(*both) for both in zip(parts, layers, strict=True))


def _scaled_layer(draw: Array, shape: Layer) -> Layer:
    scale = shape.weight.shape[1] ** -0.5
    return Layer(draw.reshape(shape.weight.shape) * scale, jnp.zeros(shape.bias.shape, shape.bias.dtype))


def from_layers(layers: Iterable[tuple[ArrayLike, ArrayLike]]) -> Params:
    """Parameters from the `(weight, bias)` of each layer, (..., out, in) and (..., out): weights of one's own.

    Leading axes are those of a batch of perceptrons. PyTorch's `weight` is (out, in) already; the `kernel` of flax and
    Keras is (in, out), and has to be transposed.

    Raises:
        ValueError: no layer is given, or the shape of one doesn't fit its bias or the layer before.

    >>> params = from_layers([([[1.0, -2.0]], [0.5])])
    >>> apply(params, jnp.array([3.0, 1.0])).tolist()
    [1.5]
    """
    known = [Layer(_as_array(weight), _as_array(bias)) for weight, bias in layers]
    require(len(known) > 0, "layers", "must hold at least one layer", known)
    for index, layer in enumerate(known):
        weight, bias = layer.weight.shape, layer.bias.shape
        require(len(weight) >= 2, f"layers[{index}]", "must have a weight of shape (..., out, in)", weight)
        require(bias == weight[:-1], f"layers[{index}]", f"must have a bias of shape {weight[:-1]}", bias)
        num_inputs = known[index - 1].bias.shape[-1] if index else weight[-1]
        require(weight[-1] == num_inputs, f"layers[{index}]", f"must take {num_inputs} inputs", weight)
    return {_name(index): layer._asdict() for index, layer in enumerate(known)}


def _as_array(values: ArrayLike) -> Array:
    """NumPy arrays stay as they are, writable; lists become arrays of JAX's floats."""
    return cast(Array, values) if hasattr(values, "dtype") else jnp.asarray(values, float)


def to_layers(params: Params) -> list[Layer]:
    """The layers of `params` in their order: the inverse of `from_layers`."""
    return [Layer(**params[_name(index)]) for index in range(len(params))]


def _name(index: int) -> str:
    return f"layer_{index}"
