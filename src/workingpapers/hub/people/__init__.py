"""People: who asks and what they may do, sign-in by mail link, API tokens, votes, comments, tags.

    @router.post("/things")
    def change(viewer: Annotated[Viewer, Depends(may("edit"))]) -> Response: ...
"""

from .roles import ROLES, SCOPES, Action, Role
from .viewer import Viewer, ViewerOf, get_viewer, may

__all__ = ["ROLES", "SCOPES", "Action", "Role", "Viewer", "ViewerOf", "get_viewer", "may"]
