"""torchvision beside a CPU build of torch."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

_MISSING = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = threading.Lock()
_kept: list[Any] = []  # the operator library lives as long as this object does


def ensure_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not load, and return it. Call before importing timm.

    The torchvision wheel of PyPI is built against the CUDA build of torch. Next to a CPU build its shared library does
    not load, and the import stops because torchvision registers a Python rule for an operator that is not there.
    In that case, and only then, the schemas of the two operators it asks for (`nms` and `qnms`) are defined without a
    kernel and the import is repeated. Transforms, and all of timm, work afterwards; `torchvision.ops.nms` and
    `torchvision.io` raise when called (decode with Pillow). On a machine where the import works nothing is changed.

    Returns:
        The imported `torchvision` module. Repeated calls cost a dictionary look-up.

    Raises:
        ImportError: torch or torchvision is absent, or cannot be made to import; names the extra to install.

    Example:
        >>> ensure_torchvision().__name__
        'torchvision'
        >>> import timm
        >>> timm.is_model("resnet18")
        True
    """
    with _lock:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if _MISSING not in str(error):
                raise ImportError(f"torchvision does not import: {error}. {_remedy()}") from error
        except ModuleNotFoundError as error:
            raise ImportError(f"{error.name or 'torchvision'} is not installed. {_remedy()}") from error
        _define_operators()
        for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
            del sys.modules[name]
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            raise ImportError(f"torchvision does not import beside this build of torch: {error}. {_remedy()}") from error


def _remedy() -> str:
    return 'Install the vision extra: pip install "workingpapers[vision]"'


def _define_operators() -> None:
    from torch import library

    operators = library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        operators.define(f"{name}{_SCHEMA}")  # type: ignore[no-untyped-call]
    _kept.append(operators)
