"""The lab: plans trials, runs them, records every measurement, decides verdicts, draws plots.

    from workingpapers import lab

    batch = lab.run("mini_gp", "regret-preserved", scale="smoke")
    batch["regret-preserved"].verdict
    lab.run("mini_gp", "regret-preserved", points=[my_workload])      # on your own data
"""

from ._lab import Batch, Finished, Lab, LabError, resume, run
from .settings import Settings
from .store import Store

__all__ = ["Batch", "Finished", "Lab", "LabError", "Settings", "Store", "resume", "run"]
