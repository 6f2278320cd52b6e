"""The part of Hugging Face's API that its clients ask for papers, so that `huggingface_hub` and `hf papers` work against this site.

    HF_ENDPOINT=http://127.0.0.1:8000 hf papers ls --date 2025-12-26

Up-votes and comments are this site's own. No summary or keyword written by a machine is given.
"""

from .routes import router

__all__ = ["router"]
