"""Random links, and tokens of forms that are bound to a link by an HMAC."""

import hashlib
import hmac
import re
import secrets

_NUM_BYTES = 32
_LINK = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes in base64


def new_link() -> str:
    """A random link of 256 bits."""
    return secrets.token_urlsafe(_NUM_BYTES)


def is_link(text: str) -> bool:
    """Whether a text has the form of a link."""
    return _LINK.fullmatch(text) is not None


def digest(link: str) -> str:
    """What is stored in place of a link: its SHA-256."""
    return hashlib.sha256(link.encode()).hexdigest()


class Signer:
    """Signs texts with a secret key, by default a random one of this process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(_NUM_BYTES) if key is None else key

    def sign(self, purpose: str, text: str) -> str:
        """The signature of a text for a purpose.

        >>> signer = Signer(b"key")
        >>> signer.checks("form", "link", signer.sign("form", "link")), signer.checks("form", "link", "ä")
        (True, False)
        """
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()

    def checks(self, purpose: str, text: str, signature: str) -> bool:
        """Whether a signature is that of a text for a purpose, in constant time."""
        return hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode("utf-8", "surrogatepass"))
