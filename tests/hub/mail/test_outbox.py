"""What is sent arrives, as a file or over SMTP; refusals are told apart; nothing gets into headers."""

from __future__ import annotations

import socket
import stat
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.hub.mail import MailError, Outbox, new_message, normal_address, send
from workingpapers.hub.settings import HubSettings
from workingpapers.lab import Settings

from .conftest import Sink

PLAIN = HubSettings(mail_from="Working Papers <papers@example.org>")


def test_without_a_server_a_mail_is_a_file_of_its_own(here: Settings) -> None:
    message = new_message(PLAIN, "ada@example.org", "Über π", "text ✓", "<p>html ✓</p>", message_id="one@example.org")
    path = send(here, message, PLAIN)
    assert path is not None
    read = message_from_bytes(path.read_bytes(), policy=default)
    assert (read["To"], read["Subject"], read["Auto-Submitted"]) == ("ada@example.org", "Über π", "auto-generated")
    assert read.get_body(("plain",)).get_content().strip() == "text ✓"  # type: ignore[attr-defined]
    assert read.get_body(("html",)).get_content().strip() == "<p>html ✓</p>"  # type: ignore[attr-defined]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert send(here, message, PLAIN) == path
    assert len(list(path.parent.iterdir())) == 1


def test_over_smtp_one_connection_serves_many(here: Settings, smtp: HubSettings, sink: Sink) -> None:
    with Outbox(here, smtp) as outbox:
        for n in range(5):
            assert outbox.send(new_message(smtp, f"reader{n}@example.org", f"mail {n}", "text")) is None
    assert [to for to, _ in sink.mails] == [f"reader{n}@example.org" for n in range(5)]
    assert not (here.home / "outbox").exists()


@pytest.mark.parametrize(("answer", "permanent", "bad"), [
    ("550 5.1.1 no such user", True, True), ("550 no such user", True, True), ("550 5.7.1 looks like spam", True, False),
    ("451 4.3.0 later", False, False), ("552 5.2.2 mailbox full", True, False),
])
def test_refusals_are_told_apart_and_the_next_mail_goes_out(
        here: Settings, smtp: HubSettings, sink: Sink, answer: str, permanent: bool, bad: bool) -> None:
    sink.refuse["gone@example.org"] = answer
    with Outbox(here, smtp) as outbox:
        with pytest.raises(MailError) as found:
            outbox.send(new_message(smtp, "gone@example.org", "hello", "text"))
        assert (found.value.is_permanent, found.value.is_bad_address, found.value.is_about_connection) == (permanent, bad, False)
        outbox.send(new_message(smtp, "here@example.org", "hello", "text"))
    assert [to for to, _ in sink.mails] == ["here@example.org"]


def test_a_server_that_is_away_is_about_the_connection(here: Settings, smtp: HubSettings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MailError) as found:
        send(here, new_message(smtp, "a@example.org", "hello", "text"), smtp.model_copy(update={"smtp_port": port}))
    assert found.value.is_about_connection


@given(st.text(), st.text())
def test_no_text_gets_out_of_its_header(subject: str, more: str) -> None:
    message = new_message(PLAIN, "ada@example.org", subject, "text", headers={"List-Id": more})
    raw = message.as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    read = message_from_bytes(raw, policy=default)
    assert {k.lower() for k in read} == {
        "from", "to", "subject", "date", "message-id", "auto-submitted", "list-id", "mime-version", "content-type",
        "content-transfer-encoding"}
    assert b"\x00" not in head


@given(st.text(max_size=60))
def test_an_address_that_is_taken_has_no_room_for_another(text: str) -> None:
    found = normal_address(text)
    if found is not None:
        assert found.count("@") == 1
        assert normal_address(found) == found
        assert found.isascii()
        assert not set(found) & set(" \r\n,;<>()[]\\\":")
