"""An audit from its options to its report."""

from collections.abc import Sequence

import jax

from hare_jax.app.auditing import grouping, refusals
from hare_jax.app.auditing.report import Report
from hare_jax.app.explainer import choice
from hare_jax.app.tables import Loaded, TableOptions, classifier
from hare_jax.evaluate.audit import audit


def run(options: TableOptions, loaded: Loaded, by: Sequence[str], method: str, *, prices: bool) -> Report:
    """Audit the rows of `loaded` by the columns `by`.

    Raises:
        ValueError: those of `grouping.attributes`, `Table.encode`, `models.wrap` and `recourse.bind`.
    """
    table, frame = loaded.table, loaded.frame
    attributes = grouping.attributes(frame, by)
    x = table.encode(frame)
    logit_fn = classifier(options, table)
    key_bind, key_audit = jax.random.split(jax.random.key(options.seed))
    generate = choice.bound_method(method, key_bind, logit_fn, table, {})
    found = refusals.results(generate, key_audit, logit_fn, x, table.space, prices=prices)
    about = f"{len(frame):,} {loaded.described}, of which {logit_fn} refuses {found.refused.sum():,}; method: {method}."
    return Report(about, audit(attributes, found), found, attributes, frame.index)
