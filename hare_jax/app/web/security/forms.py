"""The fields of a form in a request: bounded, in UTF-8, each once, and sent by one of our own pages."""

import unicodedata
from urllib.parse import parse_qsl

from starlette.requests import Request

_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 512
_MOST_CHARACTERS = 1000  # of a value
_SAME_SITE = ("", "same-origin", "none")


class RefusedError(Exception):
    """A request that is answered by the page of an HTTP `status`, with a text for a person."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; `Guard` has bounded the size of the body.

    Raises:
        RefusedError: another content type, a malformed body, or a form of another site.
    """
    _check_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise RefusedError(415, "This page takes forms alone.")
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(text, True, strict_parsing=bool(text), errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise RefusedError(400, "The form could not be read.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs) or any(map(_is_odd, (*fields.keys(), *fields.values()))):
        raise RefusedError(400, "The form could not be read.")
    return fields


def _is_odd(text: str) -> bool:
    """Whether a text is too long, a line break counting once, or has control characters besides these and tabs."""
    return len(text.replace("\r\n", "\n")) > _MOST_CHARACTERS or any(
        unicodedata.category(one) == "Cc" and one not in "\r\n\t" for one in text
    )


def _check_origin(request: Request) -> None:
    """Our pages send no referrer, so that browsers give the origin of their forms as `null`."""
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    origin, site = (request.headers.get(name, "") for name in ("origin", "sec-fetch-site"))
    if origin not in ("", "null", own) or site not in _SAME_SITE:
        raise RefusedError(403, "The form was sent from another site. Nothing was changed.")
