"""The application of `hare-jax serve`: its sessions in memory, and its routes; one idea a file."""

from hare_jax.app.web.app.routes import build as build
from hare_jax.app.web.app.service import Service as Service
from hare_jax.app.web.app.talk import Talk as Talk
