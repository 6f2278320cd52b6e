"""Blocks that the vision papers share.

| file | what it is for |
|---|---|
| `ensure` | `ensure_torchvision()`: torchvision (and so timm) beside a CPU build of torch |
| `mixers` | six token mixers with one interface, `(B, C, H, W) -> (B, C, H, W)`; torch alone |
| `metaformer` | one scaffold that takes any mixer, and `matched_width` to give rivals the same parameters |
| `macs` | `count_params`, `count_macs` in the two conventions that papers use |
| `checkpoints` | reading, renaming and strictly loading other people's weights |
| `folding` | batch normalisation folded into the convolution before or after it |
| `training` | a small classifier trainer with fixed seeds |
| `timm_surface` | what timm asks of its models, as functions that raise when a model falls short |

Only `ensure_torchvision` is importable from here without torch.
"""

from workingpapers.parts.vision.ensure import ensure_torchvision

__all__ = ["ensure_torchvision"]
