"""A mail server on a port of this machine that keeps what it is given, and refuses what a test tells it to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller

from workingpapers.hub.settings import HubSettings
from workingpapers.lab import Settings


class Sink:
    """Mails that came in; `refuse` maps an address to the answer that it gets."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, EmailMessage]] = []
        self.refuse: dict[str, str] = {}
        self.raw: list[bytes] = []
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.raw.append(envelope.content)
        mail = cast(EmailMessage, message_from_bytes(envelope.content, policy=default))
        self.mails += [(address, mail) for address in envelope.rcpt_tos]
        return "250 2.0.0 taken"


@pytest.fixture
def sink() -> Iterator[Sink]:
    handler = Sink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        handler.port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=handler.port)
    controller.start()
    yield handler
    controller.stop()


@pytest.fixture
def smtp(sink: Sink) -> HubSettings:
    return HubSettings(smtp_host="127.0.0.1", smtp_port=sink.port, mail_from="Working Papers <papers@example.org>",
                       base_url="https://papers.example.org")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "mailhome")
