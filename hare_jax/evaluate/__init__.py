"""Metrics, their summaries, and populations of users in one call."""

from hare_jax.evaluate import metrics as metrics
from hare_jax.evaluate import sharding as sharding
from hare_jax.evaluate import simulate as simulate
from hare_jax.evaluate import summary as summary
