"""Making a mail: safe headers, plain text beside HTML, addresses in one normal form."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr

from ..settings import HubSettings

MAX_ADDRESS = 254
MAX_LINE = 998  # RFC 5322
WHOLE = frozenset(("message-id", "list-unsubscribe", "list-unsubscribe-post", "list-id"))
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class _Policy(EmailPolicy):
    """SMTP's policy, but list headers and Message-ID stay on one line: folded, some programs no longer find the address in them."""

    def fold(self, name: str, value: str) -> str:
        plain = f"{name}: {value}"
        if name.lower() in WHOLE and plain.isascii() and len(plain) <= MAX_LINE:
            return plain + self.linesep
        return str(super().fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("ascii", "surrogateescape")


POLICY = _Policy(linesep="\r\n")


def normal_address(text: str) -> str | None:
    """A mail address in its one normal form (domain in lower case and IDNA); None for anything else, such as one with a line break.

    The local part keeps its case: servers may tell `A@` from `a@`. Quoted local parts and literal hosts are refused.

    >>> normal_address(" Ada.L@Exämple.ORG "), normal_address("a@b"), normal_address("a@localhost"), normal_address("x\\r\\nBcc: y@z.org")
    ('Ada.L@xn--exmple-cua.org', None, 'a@localhost', None)
    """
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if not at or len(text) > MAX_ADDRESS or len(local) > 64 or _LOCAL.fullmatch(local) is None:
        return None
    try:
        domain = domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    labels = domain.split(".")
    if any(_LABEL.fullmatch(label) is None for label in labels) or (len(labels) < 2 and domain != "localhost") or labels[-1].isdigit():
        return None
    found = f"{local}@{domain}"
    return found if len(found) <= MAX_ADDRESS else None


def address_of(hub: HubSettings) -> tuple[str, str]:
    """Name and address of the sender of all mail.

    >>> address_of(HubSettings(mail_from="Working Papers <papers@example.org>"))
    ('Working Papers', 'papers@example.org')
    """
    name, address = parseaddr(hub.mail_from)
    found = normal_address(address)
    if found is None:
        raise ValueError(f"WORKINGPAPERS_MAIL_FROM is {hub.mail_from!r}: write it as `Name <address@example.org>`")
    return name, found


def new_message(hub: HubSettings, to: str, subject: str, text: str, html: str | None = None, *, message_id: str = "",
                date: dt.datetime | None = None, headers: Mapping[str, str] | None = None) -> EmailMessage:
    """A mail to one address: UTF-8, text and where given HTML, marked as sent by a program.

    Args:
        to: a normal address.
        message_id: without angle brackets; by default a random one.
        headers: more of them. Line breaks and control characters in any header become blanks.

    Raises:
        ValueError: `to` is no address.
    """
    if normal_address(to) != to:
        raise ValueError(f"to is {to!r}: a normal mail address is needed")
    name, sender = address_of(hub)
    domain = sender.rpartition("@")[2]
    message = EmailMessage(policy=POLICY)
    message["From"] = Address(one_line(name), addr_spec=sender)
    message["To"] = Address(addr_spec=to)
    message["Subject"] = one_line(subject)[:200]
    message["Date"] = format_datetime(date or dt.datetime.now(dt.UTC))
    message["Message-ID"] = f"<{one_line(message_id) or f'{secrets.token_hex(16)}@{domain}'}>"
    message["Auto-Submitted"] = "auto-generated"
    for header, value in (headers or {}).items():
        message[header] = one_line(value)
    message.set_content(text, cte="quoted-printable")
    if html is not None:
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def one_line(text: str) -> str:
    """Text that can stand in a header.

    >>> one_line("a\\r\\nBcc: x@y.org\\x00b")
    'a Bcc: x@y.org b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
