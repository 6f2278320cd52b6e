"""Where mail goes: files in the outbox by default, an SMTP server once one is set."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import smtplib
import ssl
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from workingpapers.lab import Settings

from ..settings import HubSettings

TIMEOUT = 30.0


class MailError(Exception):
    """A mail was not taken.

    Attributes:
        code: SMTP status, 0 where there was no answer.
        enhanced: status such as `5.1.1`, empty where the server gave none.
        is_about_connection: nothing was wrong with this mail: the server could not be reached or refuses everybody.
    """

    def __init__(self, text: str, *, code: int = 0, enhanced: str = "", is_about_connection: bool = False) -> None:
        super().__init__(text)
        self.code, self.enhanced, self.is_about_connection = code, enhanced, is_about_connection

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is of no use."""
        return self.code >= 500

    @property
    def is_bad_address(self) -> bool:
        """Whether the address itself is refused for good, so that it must not be written to again."""
        return self.is_permanent and (self.enhanced.startswith("5.1.") or (not self.enhanced and self.code in (550, 551, 553)))


class Outbox:
    """Takes mails, one connection for all of them. A context manager.

    Without an SMTP server each mail is a file `outbox/DATE-HASH.eml` in the data directory, the same file for the same
    Message-ID: written whole or not at all.
    """

    def __init__(self, settings: Settings, hub: HubSettings | None = None) -> None:
        self.hub = hub or HubSettings()
        self.folder = settings.home / "outbox"
        self._server: smtplib.SMTP | None = None

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        if self._server is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._server.quit()
            self._server = None

    def send(self, message: EmailMessage) -> Path | None:
        """Hand over one mail; the path of its file where it became one.

        Raises:
            MailError: it was not taken; says whether trying again may help.
        """
        if not self.hub.smtp_host:
            return self._write(message)
        for fresh in (self._server is None, True):
            try:
                self._connection().send_message(message)
                return None
            except smtplib.SMTPRecipientsRefused as error:
                code, text = next(iter(error.recipients.values()))
                self._reset()
                raise _refused(code, text) from error
            except smtplib.SMTPResponseException as error:
                about_connection = isinstance(error, smtplib.SMTPConnectError | smtplib.SMTPHeloError | smtplib.SMTPAuthenticationError)
                if error.smtp_code == 421 or about_connection:
                    self._drop()
                    raise _refused(error.smtp_code, error.smtp_error, is_about_connection=True) from error
                self._reset()
                raise _refused(error.smtp_code, error.smtp_error) from error
            except (smtplib.SMTPServerDisconnected, OSError) as error:
                self._drop()
                if fresh:  # an idle connection that the server has closed is opened once more
                    raise MailError(f"the mail server {self.hub.smtp_host}:{self.hub.smtp_port} cannot be reached: {error}",
                                    is_about_connection=True) from error
            except smtplib.SMTPException as error:
                raise MailError(str(error), code=554) from error
        raise AssertionError  # the second turn of the loop always returns or raises

    def _connection(self) -> smtplib.SMTP:
        if self._server is None:
            hub, secure = self.hub, ssl.create_default_context()
            if hub.smtp_tls == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(hub.smtp_host, hub.smtp_port, timeout=TIMEOUT, context=secure)
            else:
                server = smtplib.SMTP(hub.smtp_host, hub.smtp_port, timeout=TIMEOUT)
                if hub.smtp_tls == "starttls":
                    server.starttls(context=secure)
            if hub.smtp_user:
                server.login(hub.smtp_user, hub.smtp_password)
            self._server = server
        return self._server

    def _reset(self) -> None:
        if self._server is not None:
            try:
                self._server.rset()
            except (smtplib.SMTPException, OSError):
                self._drop()

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _write(self, message: EmailMessage) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = sha256(str(message["Message-ID"]).encode()).hexdigest()[:12]
        path = self.folder / f"{dt.datetime.now(dt.UTC):%Y%m%d}-{name}.eml"
        draft = path.with_suffix(f".{os.getpid()}.draft")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(message.as_bytes())
            draft.replace(path)
        except OSError as error:
            raise MailError(f"the outbox {self.folder} cannot be written: {error}", is_about_connection=True) from error
        return path


def send(settings: Settings, message: EmailMessage, hub: HubSettings | None = None) -> Path | None:
    """Hand over one mail on a connection of its own. See `Outbox.send`."""
    with Outbox(settings, hub) as outbox:
        return outbox.send(message)


def _refused(code: int, text: bytes | str, *, is_about_connection: bool = False) -> MailError:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    first = words.split(maxsplit=1)[0] if words.strip() else ""
    enhanced = first if first.count(".") == 2 and first.replace(".", "").isdigit() else ""
    return MailError(f"{code} {words}".strip()[:500], code=code, enhanced=enhanced, is_about_connection=is_about_connection)
