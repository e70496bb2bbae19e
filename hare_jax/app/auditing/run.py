"""An audit from its options to its report."""

from collections.abc import Sequence

import jax

from hare_jax import recourse
from hare_jax.app.auditing import grouping, refusals
from hare_jax.app.auditing.report import Report
from hare_jax.app.explainer import choice
from hare_jax.app.tables import Loaded, TableOptions, classifier
from hare_jax.evaluate.audit import audit
from hare_jax.solvers.host import calls_host

_DEFAULT = "least_cost"


def run(options: TableOptions, loaded: Loaded, by: Sequence[str], method: str | None, *, prices: bool) -> Report:
    """Audit the rows of `loaded` by the columns `by`.

    The default `method` is `least_cost`; for a model on the host it is the explainer's, which asks it less often.

    Raises:
        ValueError: those of `grouping.attributes`, `Table.encode`, `models.wrap` and `recourse.bind`.
    """
    table, frame = loaded.table, loaded.frame
    attributes = grouping.attributes(frame, by)
    x = table.encode(frame)
    logit_fn = classifier(options, table)
    key_bind, key_audit = jax.random.split(jax.random.key(options.seed))
    on_host = calls_host(logit_fn, table.x_train[0])
    method, budget = choice.named_method(method or (None if on_host else _DEFAULT), logit_fn, table, {})
    generate = recourse.bind(method, key_bind, logit_fn, table.x_train, table.space, **budget)
    found = refusals.results(generate, key_audit, logit_fn, x, table.space, prices=prices)
    about = f"{len(frame):,} {loaded.described}, of which {logit_fn} refuses {found.refused.sum():,}; method: {method}."
    return Report(about, audit(attributes, found), found, attributes, frame.index)
