"""A study with many people: arms assigned at random, answers kept in SQLite, pages, export; one idea a file."""

from hare_jax.app.study.design import Study as Study
from hare_jax.app.study.reading import read as read
