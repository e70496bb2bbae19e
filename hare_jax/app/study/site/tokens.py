"""Links and the tokens of forms. All follow from the secret in the file of the study, so that a restart changes none.

The token of a form says when its page was sent, and it is bound to the link and to the step of the page.
"""

import base64
import re
import time

from hare_jax.app.web.security import RefusedError, Signer, is_link, new_link

_TICKET, _LINK, _FORM = "ticket", "link", "form"  # purposes
_TICKET_SECONDS = 24 * 3600
_MS = 1000
_STAMPED = re.compile(r"([A-Za-z0-9_-]{43}\.|)([0-9]{1,15})\.([0-9a-f]{64})", re.ASCII)
_OLD = "The form is not from this page, or it is too old. Load the page again; nothing was changed."


class Tokens:
    """The tokens of a study with this secret."""

    def __init__(self, secret: str) -> None:
        self._signer = Signer(bytes.fromhex(secret))

    def ticket(self) -> str:
        """A token of the form by which a person begins."""
        return self._stamped(_TICKET, f"{new_link()}.")

    def link_of(self, ticket: str) -> str:
        """The link of the person who begins with a `ticket`; a form that is sent twice gives the same.

        Raises:
            RefusedError: the ticket is none of ours, or too old.
        """
        found = _STAMPED.fullmatch(ticket)
        fresh = found is not None and _now() - int(found[2]) < _TICKET_SECONDS * _MS
        if found is None or not fresh or not self._signer.checks(_TICKET, f"{found[1]}{found[2]} ", found[3]):
            raise RefusedError(403, _OLD)
        digest = bytes.fromhex(self._signer.sign(_LINK, found[1]))
        link = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert is_link(link)
        return link

    def form(self, link: str, step: str) -> str:
        """The token of a form on the page of a step."""
        return self._stamped(_FORM, "", f"{link} {step}")

    def seconds(self, link: str, step: str, token: str) -> float:
        """The seconds since the page of a form was sent.

        Raises:
            RefusedError: the token is not that of a form of this link and step.
        """
        found = _STAMPED.fullmatch(token)
        if found is None or found[1] or not self._signer.checks(_FORM, f"{found[2]} {link} {step}", found[3]):
            raise RefusedError(403, _OLD)
        return max(0.0, (_now() - int(found[2])) / _MS)

    def _stamped(self, purpose: str, before: str, about: str = "") -> str:
        """A token with the time; the signature is also `about` what it does not hold."""
        text = f"{before}{_now()}"
        return f"{text}.{self._signer.sign(purpose, f'{text} {about}')}"


def _now() -> int:
    return int(time.time() * _MS)
