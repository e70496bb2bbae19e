"""The pages of a study, on the layout and the parts of those of `hare-jax serve`."""

from hare_jax.app.study.pages.rendering import STATIC as STATIC
from hare_jax.app.study.pages.rendering import Form as Form
from hare_jax.app.study.pages.rendering import render as render
