"""Calibration: reported numbers and measured curves in, parameters with error bars out.

from mcdev.calibration import calibrate, conclusions, load_job

outcome = calibrate(load_job("configs/shin2022/calibrate_table1.toml"))
print("\\n".join(conclusions(outcome)))
"""

from mcdev.calibration.calibrate import calibrate
from mcdev.calibration.conclusions import conclusions
from mcdev.calibration.inference import Inferred, infer
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.plan import Plan, load_job, resolve

__all__ = ["Inferred", "Outcome", "Plan", "calibrate", "conclusions", "infer", "load_job", "resolve"]
