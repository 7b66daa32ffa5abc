"""Where the demonstration's mail goes: nowhere. Each message becomes a file that mail programs open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from flask_mailman.backends.base import BaseEmailBackend

FOLDER = "mail"


def settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a site without a mail server."""
    return {"MAIL_BACKEND": f"{__name__}.EmailBackend", "MAIL_FILE_PATH": str(folder / FOLDER)}


class EmailBackend(BaseEmailBackend):
    """A backend of Flask-Mailman's that writes each message to a file of its own."""

    def __init__(self, mailman: Any, **more: Any) -> None:
        super().__init__(mailman, **more)
        self.folder = Path(mailman.file_path)

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        """Write the messages, and say where."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for ready in email_messages:
            message = ready.message()
            name = re.sub(r"[^0-9a-z]", "", message["Message-ID"].split("@")[0])
            path = self.folder / f"{message['Date'].datetime:%Y%m%d-%H%M%S}-{name[:8]}.eml"
            path.write_bytes(message.as_bytes())
            click.echo(f"Mail is not sent, but written to {path}.", err=True)
        return len(email_messages)
