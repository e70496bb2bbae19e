"""What the annotations promise to somebody who runs mypy on a script of their own."""

import pytest

SCRIPT = """
import jax
from hare_jax import data, elicit, models, people, recourse
from hare_jax.base import Generate, LogitFn, Recourse

table = data.load("mortgage")
params = models.fit(models.Training(), jax.random.key(0), table.x_train, table.y_train)
logit_fn: LogitFn = models.classifier(params)
generate: Generate = recourse.bind("wachter", jax.random.key(1), logit_fn, table.x_train, table.space)
x = table.x_test[0]
base = generate(jax.random.key(2), logit_fn, x, table.space)
elicitor = elicit.bind("bayes", budget=3)
state = elicitor.start(jax.random.key(3), logit_fn, x, base, table.space)
question = elicitor.ask(elicitor.propose(state, jax.random.key(4)))
best: Recourse = elicitor.recommend(elicitor.tell(state, elicit.PREFERS_A))
print(question.a, best.x, table.space.mutable)
"""
WRONG = {
    "question.aa": 'print(question.aa)  # "Question" has no attribute "aa"',
    "base.y": 'print(base.y)  # "Recourse" has no attribute "y"',
    "too few arguments": "generate(jax.random.key(2), logit_fn, x)  # Too few arguments",
    "a recourse is no array": "logit_fn(base)  # incompatible type",
    "no such function": "elicitor.suggest(state)  # has no attribute",
}


@pytest.mark.slow
def test_mypy_sees_what_is_wrong_in_a_script(tmp_path):
    mypy = pytest.importorskip("mypy.api", reason="mypy is not installed")
    lines = [*SCRIPT.splitlines(), *WRONG.values()]
    script = tmp_path / "script.py"
    script.write_text("\n".join(lines) + "\n", "utf-8")
    found, errors, _ = mypy.run([str(script), "--config-file=", "--ignore-missing-imports", f"--cache-dir={tmp_path}"])
    assert errors == ""
    reported = {int(line.split(":")[1]): line for line in found.splitlines() if ": error:" in line}
    assert set(reported) == set(range(len(SCRIPT.splitlines()) + 1, len(lines) + 1)), found
    for number, line in zip(sorted(reported), WRONG.values(), strict=True):
        assert line.partition("  # ")[2] in reported[number]
