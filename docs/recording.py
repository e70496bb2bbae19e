"""The picture of a person's session: `python docs/recording.py` writes `docs/_static/ask.svg`.

The session is that of `hare-jax ask`, with what is typed read from a list; the bytes depend on nothing else.
"""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hare_jax.app.commands.ask import Ask, prepared
from hare_jax.app.terminal import Conversation, Reader, applicant

TYPED = ("a", "v term", "y")
WIDTH = 92  # characters
PICTURE = Path(__file__).parent / "_static" / "ask.svg"


class Typist(Reader):
    """A reader of the lines `TYPED` that shows each as a terminal would."""

    def __init__(self, console: Console) -> None:
        super().__init__(io.StringIO("".join(f"{line}\n" for line in TYPED)))
        self.console = console

    def command(self) -> str | None:
        """The next line."""
        text = super().command()
        self.console.print(Text(f"> {text}", style="bold green"))
        return text


def main() -> None:
    """Record the session."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH)
    session = prepared(Ask(), lambda share, stage: None)
    console.print(Text("$ hare-jax ask", style="bold"), "", applicant(session.explainer, session.row))
    Conversation(session, console, Typist(console), None).run()
    picture = console.export_svg(title="hare-jax ask", unique_id="ask")
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # no font from the network
    PICTURE.write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    main()
