"""Conversion of a DataFrame to arrays and an action space, and back. Besides `app`, only it uses pandas."""

from hare_jax.data.files import read_csv as read_csv
from hare_jax.data.proposal import infer as infer
from hare_jax.data.sources import SOURCES as SOURCES
from hare_jax.data.sources import Source as Source
from hare_jax.data.sources import fetch as fetch
from hare_jax.data.sources import load as load
from hare_jax.data.sources import read as read
from hare_jax.data.table import Table as Table
from hare_jax.data.table import from_frame as from_frame
from hare_jax.data.toml import to_toml as to_toml
