"""Tables of the site, beside those of runs: papers, people, mail, work. One metadata, one line of migrations."""

from .mail import DigestRow, SubscriptionRow, SuppressedEmailRow
from .papers import (
    AnswerRow,
    DoubtRow,
    ImportRow,
    PaperAliasRow,
    PaperCategoryRow,
    PaperLinkRow,
    PaperRow,
    PaperSignalRow,
    PaperSourceRow,
    PaperVectorRow,
    PaperVersionRow,
    ResultRow,
    SourceKeyRow,
)
from .people import (
    ApiTokenRow,
    AuthorshipRow,
    CommentRow,
    MailLinkRow,
    RatingRow,
    SigninRow,
    TagRow,
    UserRow,
    VoteRow,
)
from .work import AuditRow, JobRow, RateCounterRow, TrendEventRow

__all__ = [
    "AnswerRow", "ApiTokenRow", "AuditRow", "AuthorshipRow", "CommentRow", "DigestRow", "DoubtRow", "ImportRow", "JobRow", "MailLinkRow",
    "PaperAliasRow",
    "PaperCategoryRow", "PaperLinkRow", "PaperRow", "PaperSignalRow", "PaperSourceRow", "PaperVectorRow", "PaperVersionRow",
    "RateCounterRow", "RatingRow", "ResultRow", "SigninRow", "SourceKeyRow", "SubscriptionRow", "SuppressedEmailRow", "TagRow",
    "TrendEventRow", "UserRow", "VoteRow",
]
