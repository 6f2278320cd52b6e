"""What strangers wrote, made safe to show: abstracts with their maths, comments in Markdown, JSON inside pages.

    abstract_html("Costs $5, needs $O(n^2)$ and \\emph{care}")   # markup for a page
    plain_text("Costs $5, needs $O(n^2)$ and \\emph{care}")      # the same for a mail or a feed
    comment_html("**Fine** work")                                # Markdown that the sanitiser let through
"""

from .abstracts import abstract_html, plain_text, title_html
from .markdown import clean, comment_html
from .scripts import json_for_script

__all__ = ["abstract_html", "clean", "comment_html", "json_for_script", "plain_text", "title_html"]
