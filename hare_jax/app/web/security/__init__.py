"""What guards a web page: unguessable links, tokens of forms, and limits on requests; one idea a file."""

from hare_jax.app.web.security.forms import RefusedError as RefusedError
from hare_jax.app.web.security.forms import read_form as read_form
from hare_jax.app.web.security.guard import DEFAULTS as DEFAULTS
from hare_jax.app.web.security.guard import Guard as Guard
from hare_jax.app.web.security.guard import Limits as Limits
from hare_jax.app.web.security.rates import Rates as Rates
from hare_jax.app.web.security.tokens import Signer as Signer
from hare_jax.app.web.security.tokens import digest as digest
from hare_jax.app.web.security.tokens import is_link as is_link
from hare_jax.app.web.security.tokens import new_link as new_link
