"""The grammar of a configuration: strict tables, quantities with a unit, names, distributions.

A configuration is text that a person wrote, so everything in it is checked: unknown keys are refused,
a dimensional value must carry its unit (``"3.5 V"``), and a device parameter may be a distribution from
which one value per device is drawn. Inside the program every quantity is a float in SI base units.
"""

from mcdev.schema.distributions import MOST_SAMPLES as MOST_SAMPLES
from mcdev.schema.distributions import SAMPLE_KEYS as SAMPLE_KEYS
from mcdev.schema.distributions import PerDevice as PerDevice
from mcdev.schema.distributions import numbers_of as numbers_of
from mcdev.schema.laws import Drawn as Drawn
from mcdev.schema.laws import Law as Law
from mcdev.schema.laws import Lognormal as Lognormal
from mcdev.schema.laws import Normal as Normal
from mcdev.schema.laws import Samples as Samples
from mcdev.schema.laws import Uniform as Uniform
from mcdev.schema.laws import extremes as extremes
from mcdev.schema.laws import typical as typical
from mcdev.schema.names import FileName as FileName
from mcdev.schema.names import Name as Name
from mcdev.schema.names import file_name as file_name
from mcdev.schema.names import file_names as file_names
from mcdev.schema.names import folded as folded
from mcdev.schema.placed import at_place as at_place
from mcdev.schema.placed import parted as parted
from mcdev.schema.placed import placed as placed
from mcdev.schema.quantities import REACH as REACH
from mcdev.schema.quantities import Current as Current
from mcdev.schema.quantities import Duration as Duration
from mcdev.schema.quantities import Fraction as Fraction
from mcdev.schema.quantities import Interval as Interval
from mcdev.schema.quantities import PureNumber as PureNumber
from mcdev.schema.quantities import Rate as Rate
from mcdev.schema.quantities import Resistance as Resistance
from mcdev.schema.quantities import Share as Share
from mcdev.schema.quantities import Temperature as Temperature
from mcdev.schema.quantities import Unit as Unit
from mcdev.schema.quantities import Voltage as Voltage
from mcdev.schema.quantities import unit_of_key as unit_of_key
from mcdev.schema.refusal import nearest as nearest
from mcdev.schema.refusal import refuse as refuse
from mcdev.schema.refusal import sentence as sentence
from mcdev.schema.tables import Strict as Strict
from mcdev.schema.tables import replaced as replaced
from mcdev.schema.units import converted as converted
from mcdev.schema.units import is_unit as is_unit
from mcdev.schema.units import number_and_unit as number_and_unit
from mcdev.schema.units import percentage as percentage
