"""Mail: the outbox or an SMTP server, subscriptions, and the digests that go out to them."""

from .outbox import MailError, Outbox, send
from .writing import address_of, new_message, normal_address

__all__ = ["MailError", "Outbox", "address_of", "new_message", "normal_address", "send"]
