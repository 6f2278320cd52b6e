"""torchvision beside a CPU torch, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.needs("torchvision", "timm")
def test_transforms_and_timm_work_afterwards() -> None:
    out = run("""
        from workingpapers.parts.vision import ensure_torchvision
        import sys
        assert "torch" not in sys.modules
        tv = ensure_torchvision()
        assert ensure_torchvision() is tv
        import numpy as np, timm, torch
        from PIL import Image
        from torchvision import transforms
        image = Image.fromarray(np.full((8, 8, 3), 255, np.uint8))
        print(float(transforms.Compose([transforms.Resize(4), transforms.ToTensor()])(image).mean()))
        print(len(timm.list_models()) > 1000)
        print(len(timm.create_model("resnet18", features_only=True).eval()(torch.zeros(1, 3, 32, 32))))
    """)
    assert out.split() == ["1.0", "True", "5"]


@pytest.mark.slow
@pytest.mark.needs("torchvision")
def test_operators_are_defined_only_where_the_import_fails() -> None:
    out = run("""
        import sys, types
        from workingpapers.parts.vision import ensure, ensure_torchvision
        sys.modules["torchvision"] = types.ModuleType("torchvision")   # an import that succeeds
        assert ensure_torchvision() is sys.modules["torchvision"]
        print(len(ensure._kept))
        del sys.modules["torchvision"]
        ensure_torchvision()
        import torch
        print(hasattr(torch.ops.torchvision, "nms"))
    """)
    assert out.split() == ["0", "True"]


@pytest.mark.parametrize("missing", ["torchvision", "torch"])
def test_absence_names_the_extra(missing: str) -> None:
    out = run(f"""
        import sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name == {missing!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Block())
        from workingpapers.parts.vision import ensure_torchvision
        try:
            ensure_torchvision()
        except ImportError as error:
            print(error)
    """)
    assert out == f'{missing} is not installed. Install the vision extra: pip install "workingpapers[vision]"'


def test_another_failure_is_not_hidden() -> None:
    out = run("""
        import sys
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "torchvision":
                    raise RuntimeError("disk on fire")
        sys.meta_path.insert(0, Broken())
        from workingpapers.parts.vision import ensure, ensure_torchvision
        try:
            ensure_torchvision()
        except ImportError as error:
            print(error, len(ensure._kept))
    """)
    assert "disk on fire" in out
    assert out.endswith("0")
