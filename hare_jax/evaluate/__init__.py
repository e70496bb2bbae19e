"""Metrics, summaries, simulated populations, and audits by group."""

from hare_jax.evaluate import audit as audit
from hare_jax.evaluate import expected as expected
from hare_jax.evaluate import intervals as intervals
from hare_jax.evaluate import metrics as metrics
from hare_jax.evaluate import outcomes as outcomes
from hare_jax.evaluate import robustness as robustness
from hare_jax.evaluate import sharding as sharding
from hare_jax.evaluate import simulate as simulate
from hare_jax.evaluate import sketch as sketch
from hare_jax.evaluate import stream as stream
from hare_jax.evaluate import summary as summary
from hare_jax.evaluate import trial as trial
