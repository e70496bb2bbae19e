"""Pages in HTML: what a session shows, forms, and a picture; they know no requests. One idea a file.

A page with forms takes a `Form`: where the forms are sent, and the hidden fields that they carry.
"""

from hare_jax.app.web.pages.fields import Field as Field
from hare_jax.app.web.pages.fields import FormError as FormError
from hare_jax.app.web.pages.fields import changes_in as changes_in
from hare_jax.app.web.pages.fields import fields_of as fields_of
from hare_jax.app.web.pages.fields import row_in as row_in
from hare_jax.app.web.pages.rendering import STATIC as STATIC
from hare_jax.app.web.pages.rendering import Form as Form
from hare_jax.app.web.pages.rendering import render as render
from hare_jax.app.web.pages.views import compared as compared
from hare_jax.app.web.pages.views import responded as responded
from hare_jax.app.web.pages.views import summed_up as summed_up
from hare_jax.app.web.pages.views import told as told
