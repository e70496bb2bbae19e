"""What the file of a study says of its design, its data and its model, so that it is not continued with others."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np

from hare_jax.app.session.saving import digest
from hare_jax.app.study.design import Study
from hare_jax.app.study.setting import Setting
from hare_jax.app.study.steps import order
from hare_jax.app.study.store import Store
from hare_jax.base import require

_NUM_ROWS = 20  # of which the logits are kept
_SAME = 1e-3  # logits of one model on two machines
_FREE = ("title", "texts", "data")  # parts of a design that may change


def of(study: Study) -> dict[str, str]:
    """The design of a study, without its texts and the places of its files."""
    design = {name: _plain(value) for name, value in study._asdict().items() if name not in _FREE}
    return {"design": json.dumps(design), "steps": json.dumps(order(study))}


def agreed(store: Store, study: Study, setting: Setting) -> str:
    """The secret of the file, which is of this study; a new file is from now on.

    Raises:
        ValueError: it is of another design, table or model.
    """
    explainer = next(iter(setting.explainers.values()))
    rows = np.asarray(setting.table.x_train[:_NUM_ROWS])
    logits = [float(explainer.logit_fn(jnp.asarray(x))) for x in rows]
    given = of(study) | {"table": digest(setting.table), "logits": json.dumps(logits)}
    known = store.facts(given)
    old, new = (json.loads(facts["design"]) for facts in (known, given))
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    rule = "must be that of the file --db, or have a new file; only title, texts and [data] may change"
    require(not changed, "study", rule, changed)
    require(known["table"] == given["table"], "data", "must be those of the file --db, with their schema", "others")
    same = np.allclose(json.loads(known["logits"]), logits, rtol=_SAME, atol=_SAME)
    require(same, "model", "must be that of the file --db", "another")
    return known["secret"]


def _plain(value: Any) -> Any:
    """A value with dicts and lists in place of NamedTuples and tuples."""
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value
