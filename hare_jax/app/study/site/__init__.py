"""The web site of a study: its routes, the tokens of its links and forms, and what its pages show."""

from hare_jax.app.study.site.routes import build as build
from hare_jax.app.study.site.tokens import Tokens as Tokens
