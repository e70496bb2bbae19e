"""How sure a recommendation is."""

from functools import partial

import jax
import numpy as np
from jax.tree_util import Partial
from spaces import array, jit, split

from hare_jax.app.session.outlook import outlook
from hare_jax.base import Recourse
from hare_jax.elicit import Bayes, bayesian
from hare_jax.elicit.bayesian.learn import learn
from hare_jax.space import action_space

SPACE = action_space([True, True], np.zeros(2), np.ones(2))
X, BASE = array([0.1, 0.1]), Recourse(array([0.9, 0.3]), np.array(True))


def test_the_width_of_ties_makes_surer_and_coin_tosses_do_not():
    hp = Bayes(num_pool=12, num_local=4, num_cheap=2, max_questions=4)
    elicitor = bayesian.elicitor(hp)
    state = jit(elicitor.start)(split(0, 1)[0], Partial(lambda x: x[0] + x[1] - 1.0), X, BASE, SPACE)
    propose, tell = jit(elicitor.propose), jit(partial(learn, hp))
    for index, answer in enumerate((0, 1)):
        state = tell(propose(state, split(1, 2)[index]), np.array(answer))
    state = jax.device_get(state)
    sure = jit(outlook)

    def wide(width, log_odds=-np.inf):
        manner = state.belief.manner._replace(width=np.full_like(state.belief.manner.width, width))
        log_coins = array(log_odds) + jax.nn.logsumexp(state.belief.log_weight)
        return float(sure(state._replace(belief=state.belief._replace(manner=manner, log_coins=log_coins))).sure)

    assert 0 < wide(0) < wide(0.2) < 1
    assert wide(100) > 0.9999
    np.testing.assert_allclose(wide(0.2, np.log(1 / 3)), 0.75 * wide(0.2), rtol=1e-4)
