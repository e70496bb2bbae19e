"""A session in a terminal: `Conversation` asks, takes keys or lines, and shows the result; one idea a file."""

from hare_jax.app.terminal.conversation import Conversation as Conversation
from hare_jax.app.terminal.reading import Reader as Reader
from hare_jax.app.terminal.showing import applicant as applicant
from hare_jax.app.terminal.showing import plain as plain
