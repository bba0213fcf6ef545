"""What an ensemble says: centre and spread of every measurement, D2D and C2C kept apart, censored observations used.

``summary`` has the flat records of ``mcdev stats``; ``components``, ``resampling``, ``censored``, ``survival``,
``correlation`` and ``autocorrelation`` one kind of statistic each; ``tables`` the formats; ``card`` the model card from
which ``draw`` draws devices. Definitions and sources: docs/variability.md.
"""

from mcdev.statistics.card import Card, read_card, to_toml
from mcdev.statistics.card_of_run import make_card
from mcdev.statistics.contents import contents
from mcdev.statistics.draw import write_devices
from mcdev.statistics.published import compare, fit_records
from mcdev.statistics.readings import point_label
from mcdev.statistics.summary import summarise
from mcdev.statistics.tables import COLUMNS, LONG, long_csv, long_table, to_csv, to_json, write_parquet

__all__ = [
    "COLUMNS",
    "LONG",
    "Card",
    "compare",
    "contents",
    "fit_records",
    "long_csv",
    "long_table",
    "make_card",
    "point_label",
    "read_card",
    "summarise",
    "to_csv",
    "to_json",
    "to_toml",
    "write_devices",
    "write_parquet",
]
