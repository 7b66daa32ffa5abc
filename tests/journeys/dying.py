"""Deliver one message and die while it is being sent.

Run as `python -m tests.journeys.dying URL FILE WHEN`: the process kills itself `before` the server
has the message, or `after` it, when FILE holds its Message-ID. What it knows is gone with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy.orm import Session

from intake_plugin.journeys import delivery
from intake_plugin.posting import Carrier
from tests.journeys.killing import application, office_of
from tests.journeys.mailing import LONGEST, STATIONERY, mailing


def main(url: str, file: str, when: str) -> None:
    app = application(url)

    def send(message: EmailMessage) -> None:
        if when == "after":
            Path(file).write_text(json.dumps([message["Message-ID"]]))
        os.kill(os.getpid(), signal.SIGKILL)

    with app.app_context(), Session(app.extensions["sqlalchemy"].engine) as session:
        office = replace(office_of(app, session), clinic=mailing())
        delivery.deliver(lambda: office, Carrier(send, LONGEST), STATIONERY)


if __name__ == "__main__":
    main(*sys.argv[1:])
