"""The cases of the experiment `questions`: kind of person, ideal and noise, and the arms that apply to each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from benchmarks import noise
from benchmarks.experiments import arms
from benchmarks.original import paper
from benchmarks.specs import Spec, check, not_empty
from hare_jax.base import choose, require
from hare_jax.people import DISTANCES, PERSONS, Population, User

IDEAL = "ideal"
PEOPLE = (IDEAL, "weights")
IDEALS = ("far",)
_NO_NOISE, _FLIP = "0", "0.1"
_ALL = ("all",)
_BY_DEFAULT = (*((kind, _NO_NOISE) for kind in PEOPLE), (IDEAL, _FLIP))
_WIDTH = 2  # columns of the problem that `drawn_from_ideal` traces


class Choice(NamedTuple):
    """What is run on each data set."""

    people: Sequence[str]
    ideal: Sequence[str]
    noise: Sequence[str] | None  # None: no noise, and for ideals also flips
    arms: Sequence[str]
    seeds: Sequence[int]
    users: int


def specs(dataset: str, choice: Choice) -> list[Spec]:
    """The specs of the sessions for one data set; each yields one row per budget.

    Raises:
        ValueError: an option is empty, a name is unknown, or no arm applies to any case.
    """
    not_empty(people=choice.people, ideal=choice.ideal, arms=choice.arms, seeds=choice.seeds)
    choice = choice._replace(people=tuple(PERSONS)) if tuple(choice.people) == _ALL else choice
    _check_names(choice)
    found = [
        check(_spec(dataset, seed, choice.users, person, ideal, rate, arm), tuple(arms.table()))
        for seed in choice.seeds
        for person, rate in _people_and_noise(choice)
        for ideal in _ideals(person, choice.ideal)
        for arm in choice.arms
        if applies(arm, person, rate)
    ]
    require(len(found) > 0, "arms", "must hold one that applies to the people and noise", list(choice.arms))
    return found


def applies(arm: str, person: str, rate: str) -> bool:
    """Whether an arm has a meaning for these people and noise.

    The observer knows ideals and flips alone. Sets and ratings are defined for flips, and people that do not change.
    """
    if arm == arms.OBSERVER:
        return person == IDEAL and noise.is_flips(rate)
    constant = getattr(PERSONS[person], "at", None) is None
    return arms.table()[arm].form == "pair" or (noise.is_flips(rate) and constant)


def _check_names(choice: Choice) -> None:
    for person in choice.people:
        choose("people", person, PERSONS)
    for ideal in choice.ideal:
        choose("ideal", ideal, DISTANCES)
    for rate in choice.noise or ():
        noise.parse(rate)
    arms.check(choice.arms)
    if choice.noise is not None:
        not_empty(noise=choice.noise)


def _spec(dataset: str, seed: int, users: int, person: str, ideal: str, rate: str, arm: str) -> Spec:
    cell = Spec(table="questions", dataset=dataset, model="mlp", method="growing_spheres", arm=arm, users=users)
    return replace(cell, seed=seed, person=person, ideal=ideal, noise=rate)


def _people_and_noise(choice: Choice) -> Iterator[tuple[str, str]]:
    if choice.noise is not None:
        yield from ((person, rate) for person in choice.people for rate in choice.noise)
        return
    yield from ((person, _NO_NOISE) for person in choice.people)
    yield from (case for case in _BY_DEFAULT if case[0] in choice.people and case[1] != _NO_NOISE)


def _ideals(person: str, chosen: Sequence[str]) -> Sequence[str]:
    """The distances to run a kind with: all `chosen` ones if it depends on the distance, otherwise the default's."""
    return chosen if tuple(chosen) == IDEALS or drawn_from_ideal(person) else IDEALS


@cache
def drawn_from_ideal(person: str) -> bool:
    """Whether the draw of a kind of person depends on the population's distance of ideals."""
    traced = jax.make_jaxpr(partial(_drawn, person))(jnp.ones(()), jax.random.key(0)).jaxpr
    distance = traced.invars[0]
    return any(variable is distance for step in traced.eqns for variable in step.invars)


def _drawn(person: str, distance: Any, key: Array) -> User:
    space = paper.box_space(jnp.ones(_WIDTH, bool))
    return PERSONS[person].draw(Population(distance=distance), key, jnp.sum, jnp.zeros(_WIDTH), space)
