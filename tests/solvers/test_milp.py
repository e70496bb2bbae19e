import itertools

import numpy as np
import pytest
import scipy.optimize

from hare_jax.solvers.milp import INFEASIBLE, OPTIMAL, UNFINISHED, Program, Solution, fixed, solve

NUM_ITEMS = 8


def knapsack(seed, need=0.5):
    """Items 0 or 1, all but the last one, which may be split, whose total gain has to reach a share of all gains."""
    rng = np.random.default_rng(seed)
    cost, gain = rng.uniform(0.1, 1, (2, NUM_ITEMS))
    integer = np.arange(NUM_ITEMS) < NUM_ITEMS - 1
    least, most = np.zeros(NUM_ITEMS), np.ones(NUM_ITEMS)
    return Program(cost, gain[None, :], np.array([need * gain.sum()]), np.array([np.inf]), least, most, integer)


def cheapest(program):
    """The least cost by trying every choice of the integers."""
    *costs, last_cost = program.cost
    *gains, last_gain = program.matrix[0]
    found = [np.inf]
    for chosen in itertools.product((0, 1), repeat=NUM_ITEMS - 1):
        rest = max(program.lower[0] - np.dot(gains, chosen), 0) / last_gain
        if rest <= 1:
            found.append(np.dot(costs, chosen) + rest * last_cost)
    return min(found)


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_is_that_of_enumeration(seed):
    program = knapsack(seed)
    found = solve(program, time_limit=10.0, gap=1e-9)
    assert found.status == OPTIMAL
    assert np.isin(found.values[program.integer], (0, 1)).all()
    np.testing.assert_allclose(program.cost @ found.values, cheapest(program), atol=1e-6)
    again = solve(fixed(program, found.values), time_limit=10.0, gap=1e-9)
    np.testing.assert_allclose(again.values, found.values, atol=1e-6)


def test_infeasible_is_proved():
    assert solve(knapsack(0, need=1.01), time_limit=10.0, gap=1e-6) == Solution(None, INFEASIBLE)


def test_no_time_is_no_proof():
    assert solve(knapsack(0), time_limit=0.0, gap=1e-6).status in (UNFINISHED, OPTIMAL)
    assert solve(knapsack(0, need=1.01), time_limit=0.0, gap=1e-6).status == UNFINISHED


def test_an_error_of_the_solver_is_no_proof(monkeypatch):
    failed = scipy.optimize.OptimizeResult(x=None, status=4)
    monkeypatch.setattr(scipy.optimize, "milp", lambda *args, **options: failed)
    assert solve(knapsack(0), time_limit=10.0, gap=1e-6) == Solution(None, UNFINISHED)
