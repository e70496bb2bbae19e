"""Formulas of columns: text such as `debt / income`, parsed to a nested tuple that is hashable and is never executed.

An expression is `("number", 1.5)`, `("column", key)`, `("neg", a)`, `(symbol, a, b)` with one of `+ - * / **`, or a
function, `("min", a, b)`. A name that is no Python identifier is in backticks, as in `pandas.DataFrame.query`.
"""

from hare_jax.formula.algebra import Expression as Expression
from hare_jax.formula.algebra import affine as affine
from hare_jax.formula.algebra import columns as columns
from hare_jax.formula.algebra import evaluate as evaluate
from hare_jax.formula.algebra import rename as rename
from hare_jax.formula.parsing import inequality as inequality
from hare_jax.formula.parsing import parse as parse
from hare_jax.formula.systems import complete as complete
from hare_jax.formula.systems import in_causal_order as in_causal_order
