"""Exact recourse: the method in `method`, and the modules of its search on the host.

`search` solves the program of one row, without relations, and `branch` with them. `problem` is what both share; `moves`
are the variables of the program, `model` the constraints of the network, and `relations` those between columns, with
the formulas as `relaxation` bounds them; `draft` is a program under construction.
"""

from hare_jax.recourse.exact.method import Exact as Exact
from hare_jax.recourse.exact.method import failure as failure
from hare_jax.recourse.exact.method import generate as generate
from hare_jax.recourse.exact.method import solve as solve
from hare_jax.recourse.exact.problem import NONE_EXISTS as NONE_EXISTS
from hare_jax.recourse.exact.problem import OPTIMAL as OPTIMAL
from hare_jax.recourse.exact.problem import UNPROVED as UNPROVED
