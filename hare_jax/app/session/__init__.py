"""One person answers: `Session` asks, takes what is told, and recommends, in original units; one idea a file."""

from hare_jax.app.session.session import Session as Session
from hare_jax.app.session.views import CANNOT_TELL as CANNOT_TELL
from hare_jax.app.session.views import AcceptedError as AcceptedError
from hare_jax.app.session.views import Asked as Asked
from hare_jax.app.session.views import Best as Best
from hare_jax.app.session.views import Change as Change
from hare_jax.app.session.views import Difference as Difference
from hare_jax.app.session.views import Event as Event
from hare_jax.app.session.views import Exploration as Exploration
from hare_jax.app.session.views import Option as Option
