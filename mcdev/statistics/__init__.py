"""What an ensemble says: centre and spread of every measurement, D2D and C2C kept apart, censored observations used.

``summary`` has the flat records of ``mcdev stats``; ``components``, ``resampling``, ``censored``, ``survival``,
``correlation`` and ``autocorrelation`` one kind of statistic each; ``tables`` the formats; ``card`` the model card from
which ``draw`` draws devices. Definitions and sources: docs/variability.md.
"""

from mcdev.statistics.published import compare, fit_records
from mcdev.statistics.readings import point_label
from mcdev.statistics.summary import summarise
from mcdev.statistics.tables import COLUMNS, to_csv, to_json

__all__ = ["COLUMNS", "compare", "fit_records", "point_label", "summarise", "to_csv", "to_json"]
