"""What several papers build on, by field. Models and algorithms live here; data sets live in `workloads`.

| room | holds |
|---|---|
| `vision/` | token mixers in one scaffold, MAC counter, checkpoint mapper, folding, timm-surface checks, a small trainer |
"""
