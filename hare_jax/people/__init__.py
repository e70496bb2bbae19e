"""Kinds of people: what they want and do not say, how they answer, and what their answers tell."""

from hare_jax.people.population import DISTANCES as DISTANCES
from hare_jax.people.population import Population as Population
from hare_jax.people.population import User as User
from hare_jax.people.population import cost_weights as cost_weights
from hare_jax.people.population import draw as draw
from hare_jax.people.population import flipped as flipped
from hare_jax.people.population import hidden_ideal as hidden_ideal
from hare_jax.people.population import logistic_flipped as logistic_flipped
from hare_jax.people.population import prefers_cheaper as prefers_cheaper
from hare_jax.people.population import prefers_nearer as prefers_nearer
from hare_jax.people.population import refused_start as refused_start
