"""How a classifier is trained: the hyperparameters of `perceptron.fit`, the paper's values, and the optimisers."""

import math
from dataclasses import replace
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from hare_jax.base import pytree_dataclass, require
from hare_jax.hyperparams import Count, Counts, Natural, NonNegative, Positive, Share, one_of
from hare_jax.models.network import is_weight

_LEAST_STEPS = 600  # the paper's 20 epochs of a small data set leave a classifier half trained
_FEW_ROWS = 400  # so few overfit the default network without a strong decay; twice this decay ends in constants
_DECAY, _EPSILON = 0.99, 1e-8  # of RMSprop, as in PyTorch


@pytree_dataclass
class Training:
    """How a classifier is trained: on standardised columns, with enough steps for few rows. The paper's is `PAPER`."""

    hidden: Counts = (10, 5, 10)  # width of each hidden layer; () is the linear model
    learning_rate: Positive = 1e-2  # of AdamW at the first step, and 0 after the last; of RMSprop at every step
    positive_weight: Positive = 1.0  # weight of a row of class 1 in the loss; below 1 it raises balanced accuracy
    batch_size: Count = 256
    num_epochs: Count = 20  # at least
    min_steps: Natural = 1000  # more epochs for few rows: as many as make so many steps
    warmup: Share = 1 / 3  # share of the epochs, at the start, without the penalty
    optimiser: Annotated[str, one_of("adamw", "rmsprop")] = "adamw"
    weight_decay: NonNegative = 2.0  # of AdamW, over the learning rate; for n > 400 rows it falls as 1/sqrt(n)
    standardise: bool = True  # train on columns of mean 0 and s.d. 1; the parameters returned are those for `x`


PAPER = Training(
    learning_rate=2e-3, min_steps=0, optimiser="rmsprop", weight_decay=0.0, standardise=False
)  # that of HARE's experiments (TMLR 2025), for columns in [0, 1] and thousands of rows


def balanced(y: Array, training: Training = Training()) -> Training:  # noqa: B008 - frozen
    """`training` for labels `y` (n,), with equal total weights of both classes and at least 600 steps.

    Class 1 has the weight (rows of class 0) / (rows of class 1), so that an imbalanced data set doesn't end in a
    classifier that accepts every row.

    Raises:
        ValueError: a class has no row.

    >>> balanced(jnp.array([0.0, 1.0, 1.0])).positive_weight
    0.5
    """
    require(isinstance(training, Training), "training", "must be a Training", training)
    num_positive = int(jnp.sum(y == 1))
    require(0 < num_positive < len(y), "y", "must hold both 0 and 1", sorted(set(np.unique(y).tolist())))
    weight = (len(y) - num_positive) / num_positive
    return replace(training, positive_weight=weight, min_steps=max(training.min_steps, _LEAST_STEPS))


def num_epochs_for(hp: Training, num_batches: int) -> int:
    """Epochs of `num_batches` steps each."""
    return max(hp.num_epochs, math.ceil(hp.min_steps / num_batches))


def _adamw(hp: Training, num_rows: int, num_steps: int) -> optax.GradientTransformation:
    rate = optax.linear_schedule(hp.learning_rate, 0, num_steps)
    decay = hp.weight_decay * min(1, math.sqrt(_FEW_ROWS / num_rows))
    return optax.adamw(rate, weight_decay=decay, mask=is_weight)


def _rmsprop(hp: Training, num_rows: int, num_steps: int) -> optax.GradientTransformation:
    return optax.rmsprop(hp.learning_rate, decay=_DECAY, eps=_EPSILON, eps_in_sqrt=False)


OPTIMISERS = {"adamw": _adamw, "rmsprop": _rmsprop}
