"""What a calibration's file says: devices, experiments on them, free parameters, reported numbers, search.

    name = "two_devices"

    [devices.P]                                   # one table a device; [device] where there is one only
    preset = "device_p"

    [experiments.turn_on]                         # as in an experiment's file, without the device; or file = "….toml"
    protocol = { kind = "pulse", amplitude = "3.5 V", width = "20 s", relaxation = "0 s" }
    measurements = { tau_on = { kind = "exponential_fit" } }

    [parameters."device.capacitance"]
    low = "2 uF/cm^2"
    high = "60 uF/cm^2"
    per_device = true

    [[targets]]
    experiment = "turn_on"
    measurement = "tau_on"
    value = { P = "3.8 s" }
    uncertainty = "5 %"
    source = "Shin et al. 2022, Table 1"

What the file means is worked out and checked in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from mcdev.configuration.address import Address
from mcdev.configuration.problems import Problem, key_path
from mcdev.measured import Layout
from mcdev.schema import FileName, Fraction, Name, Strict, Unit

ONLY = "[device]"
"""Stands for the device where there is one only; no name that one may be given."""
Written = str | float | int
"""A number, or a quantity with its unit, as it stands in the file."""
PerDeviceValue = Written | dict[str, Written]
"""One for all devices, or a table device → value."""


class Prior(Strict):
    """What is known of a parameter beforehand: one more observation of it."""

    median: PerDeviceValue
    """Centre."""
    factor: Annotated[float, Unit("", gt=1)] | None = None
    """One standard deviation, as a factor: ln(value) is Gaussian. Give this or ``sd``."""
    sd: Written | None = None
    """One standard deviation, in the parameter's unit: the value is Gaussian."""


class Free(Strict):
    """A parameter to be fitted; its key path is the name of its table."""

    low: Written | None = None
    """Lower bound; else the parameter's own, if it has one."""
    high: Written | None = None
    """Upper bound."""
    start: PerDeviceValue | None = None
    """Where the search begins; else the device's own value."""
    per_device: bool = False
    """One value for each device, instead of one for all."""
    experiments: tuple[str, ...] = ()
    """Of a circuit's or protocol's parameter: the experiments that it is a parameter of; else all that have it."""
    prior: Prior | None = None
    """What is known of it beforehand."""
    reach: Fraction | None = None
    """How far differences of ensembles reach to either side of this one, as a share of it; else ``search.reach``. Far
    where the numbers hardly follow the parameter and their noise would hide it, near where they follow steeply."""


class Read(Address):
    """Which number is read: of which experiment, on which device."""

    experiment: str
    """Name of an entry of [experiments]."""
    device: str | None = None
    """Which device; all of them where several are meant."""


class Target(Read):
    """A reported number that the fit shall meet."""

    value: PerDeviceValue
    """The reported number with its unit: one for all devices, or a table device → number. With [simulations] also a
    bound, "> 20 ms" or "< 1 ms", or "undefined" where there was nothing to measure."""
    uncertainty: PerDeviceValue | None = None
    """One standard deviation: a quantity, or a share of the value, "5 %". That a percentage is also where the value is
    a pure number: 5 % of "62 %" are 0.031. Of all by which the number may differ from the mean of all devices: the
    instrument, and, where it is of one device or a few, the devices' own scatter, unless ``of_devices`` is given. The
    error of the simulated mean is added by the calibration."""
    of_devices: int | None = Field(None, ge=1, le=10_000_000)
    """How many devices the number is a statistic of, each through as many cycles as its experiment has
    (``ensemble.cycles``). What so few of them scatter by is then worked out from the simulated population and added to
    the uncertainty, which may be left out. Three or more; with [simulations] also one or two."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Multiplies its deviation; zero: computed at the end and shown, not fitted."""
    scale: Literal["auto", "linear", "log"] = "auto"
    """Whether the deviation or its logarithm counts; auto: log for a positive value with a relative uncertainty."""
    source: str
    """Where it is published."""


class Range(Strict):
    """The noise of an instrument in one of its ranges: floor + share · |reading|."""

    floor: Written
    """Standard deviation of a reading of nothing."""
    share: Annotated[float, Unit("", ge=0, le=1)] = 0.0
    """Of the reading, added."""
    up_to: Written | None = None
    """Largest current of the range; of the last one, none."""


class Curve(Layout):
    """A measured current to be followed: a file with columns of time, voltage and current.

    A row's current is the mean since the row before, as an integrating instrument reads; where it is left empty
    nothing was recorded. Two rows of one time are a step of the voltage.
    """

    file: str
    """The measured file, beside the calibration's or below it."""
    device: str | None = None
    """Which device it was measured on; may be left out where there is one only."""
    circuit: dict[str, Any] | None = None
    """The ``[circuit]`` table that it was taken in; else the device alone."""
    noise: Written | Range | tuple[Range, ...]
    """Standard deviation of the instrument's noise in one reading of the file; of a mean, what is left of it. One
    number, a floor and a share of the reading, or these of several ranges."""
    mean_of: int = Field(1, ge=1, le=1_000_000_000)
    """How many devices' currents the file holds the mean of; one: the trace of a single device. Of devices that are not
    alike, each moves in its own way: the file is then one draw of many, and errors count that."""
    between: Literal["step", "line"] = "step"
    """The voltage between two rows: that of the later one (step), or straight from one to the other (line)."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Multiplies its deviation; zero: computed at the end and shown, not fitted."""
    source: str = ""
    """Where it comes from."""


class Measured(Layout):
    """Files of several measured devices, of which the measurements of one experiment are taken as ``mcdev measure``
    takes them; the statistics of what is read are targets: of each number, and of each entry of a list (a point of a
    spectrum, a part of a trace), median and spread.
    """

    experiment: str
    """Name of an entry of [experiments]: the protocol that was applied, and what is read. Its ensemble.cycles is that
    of the files."""
    device: str | None = None
    """Which of [devices]; may be left out where there is one only."""
    files: str
    """Pattern of the files' names, ``spectra/device*.csv``, beside the calibration's file or below it."""
    pattern: str | None = None
    """What their names tell, ``dev{device}_c{cycle}.csv``; else every file is a device, and its cycles are the
    device's."""
    offset: str | None = None
    """When in each file the protocol begins, "2.5 ms"; else at its first row."""
    measurements: tuple[str, ...] = ()
    """Those of the experiment that are taken; all, if none is named."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Multiplies their deviations; zero: computed at the end and shown, not fitted."""
    source: str = ""
    """Where they come from; else the pattern."""


class Candidate(Read):
    """A number that could be measured next; the report says how much it would add."""

    uncertainty: Written
    """With which it would be known: a quantity, or a share of the value, "5 %"."""
    floor: Written | None = None
    """What the instrument resolves: the uncertainty is not less than this, however small the value."""


class Limit(Strict):
    """Between which values a setting may be chosen, both included."""

    low: Written
    """Smallest."""
    high: Written
    """Largest."""


class Design(Strict):
    """Which experiments to do next: settings of the candidates' protocols, within limits (docs/design.md)."""

    number: int = Field(3, ge=1, le=20)
    """Experiments, to be done together."""
    shrink: tuple[str, ...] = ()
    """Parameters, as labelled in the table of results, whose intervals shall become small; all, if none is named."""
    tell_apart: str | None = None
    """Instead: one of [models], to be told from the model as configured."""
    limits: dict[str, Limit] = Field(default_factory=dict)
    """Key path of a protocol's number → its limits."""
    tries: int = Field(24, ge=1, le=100_000)
    """Settings of each candidate's experiment that are looked at to begin with."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Of the settings that are looked at."""


class Stage(Strict):
    """One stretch of the search: an optimiser and the size of the ensembles."""

    optimiser: Literal["levenberg_marquardt", "adam", "lbfgs"] = "levenberg_marquardt"
    """levenberg_marquardt: for sums of squares, the default; lbfgs: quasi-Newton; adam: small steps, for noisy
    derivatives."""
    steps: int = Field(100, ge=1, le=100_000)
    """Most steps."""
    devices: int = Field(256, ge=1, le=10_000_000)
    """Realisations at each sweep point; where devices are alike, one is computed whatever stands here."""
    learning_rate: Annotated[float, Unit("", gt=0, le=1)] = 0.05
    """Of adam: about the relative change of a parameter in one step."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Of adam's learning rate."""


class Starts(Strict):
    """Where searches begin. One start is the configuration's own."""

    number: int = Field(1, ge=1, le=10_000)
    """How many searches there are."""
    factor: Annotated[float, Unit("", ge=1, le=1000)] = 1.0
    """Every free parameter is multiplied by a random factor between 1/factor and factor, within its bounds."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Names the random factors."""


class Model(Strict):
    """A variant of the model, compared by its information criteria."""

    per_device: tuple[str, ...] = ()
    """Parameters with one value a device; the other free ones are shared."""
    fixed: tuple[str, ...] = ()
    """Parameters that are not free."""


class Search(Strict):
    """How the best parameters are looked for."""

    stages: tuple[Stage, ...] = ()
    """What is done from each start, in order; if none is given, what suits the devices."""
    starts: Starts = Starts()
    """Where searches begin."""
    derivatives: Literal["auto", "estimator", "differences"] = "auto"
    """Of hopping particles: the estimator, with differences where it is too noisy; or differences throughout; auto:
    differences below sixteen parameters an experiment, where they are the cheaper (docs/calibration.md)."""
    reach: Fraction = 0.05
    """How far a difference of hopping particles' ensembles reaches to either side, as a share of its parameter; a
    parameter may have its own."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Names the random numbers of the simulated devices."""
    members: int = Field(32, ge=1, le=100_000)
    """Devices without noise whose parameters are drawn, which differ but may be differentiated: the same throughout, so
    that nothing is noisy. For statistics of a population of D devices, ten times D or more."""
    largest_ensemble: int = Field(4096, ge=1, le=10_000_000)
    """To which a search may enlarge its ensembles where the derivative is mostly noise."""


class Simulations(Strict):
    """Instead of a search: parameters are drawn from their priors, data simulated for each draw, and a network learns
    the posterior from the pairs (docs/posterior.md)."""

    number: int = Field(10_000, ge=100, le=10_000_000)
    """Simulated data sets, in parts of 256."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Of the draws, the devices and the training."""
    trained: str | None = None
    """Folder of an earlier calibration of the same experiments and parameters, whose simulations and network are used:
    nothing is simulated but what the posterior predicts."""


class Report(Strict):
    """What is worked out once the search has ended."""

    profile: tuple[str, ...] = ()
    """Parameters whose likelihood is profiled, as labelled in the table of results."""
    profile_points: int = Field(9, ge=3, le=101)
    """Number of points of each profile."""
    posterior: int = Field(0, ge=0, le=1_000_000)
    """Draws from the posterior at the end: by gradients (NUTS) where every derivative is exact, or with [simulations]
    from the network that has learnt it, where 0 stands for 2000."""
    final_devices: int = Field(2000, ge=1, le=10_000_000)
    """Realisations at each sweep point with which the fitted device is shown."""


class Job(Strict):
    """The whole file."""

    name: FileName
    """Names the folder of results."""
    description: str = Field("", max_length=4000)
    """Free text, kept with the results."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know; shown with them."""
    device: dict[str, Any] | None = None
    """The device, where there is one only."""
    devices: dict[FileName, dict[str, Any]] = Field(default_factory=dict)
    """Name → [device] table."""
    experiments: dict[FileName, dict[str, Any]] = Field(default_factory=dict)
    """Name → sections of an experiment, or file = "….toml" with set = { key path = value }."""
    parameters: dict[str, Free] = Field(min_length=1)
    """Key path → bounds, start and prior of a free parameter."""
    targets: tuple[Target, ...] = ()
    """Reported numbers that the fit shall meet."""
    curves: tuple[Curve, ...] = ()
    """Measured currents that the fit shall follow."""
    measured: tuple[Measured, ...] = ()
    """Files of measured devices, the statistics of which the fit shall meet."""
    candidates: tuple[Candidate, ...] = ()
    """Numbers that could be measured next."""
    design: Design | None = None
    """Which experiments to do next."""
    models: dict[Name, Model] = Field(default_factory=dict)
    """Name → a variant of the model that is fitted, too, and compared."""
    search: Search = Search()
    """How the best parameters are looked for."""
    simulations: Simulations | None = None
    """Where it stands, it takes the place of [search]."""
    report: Report = Report()
    """What is worked out at the end."""
    directory: str = "runs"
    """Folder in which each calibration makes its own."""


def placed(key: str, wrong: Mapping[str, Sequence[Problem]], devices: Collection[str]) -> list[Problem]:
    """Device → what is wrong with one experiment on it, by keys of the calibration's file: a device's own in its table,
    and what is wrong on all ``devices`` once."""
    found = []
    shared: dict[tuple[str, str], tuple[Problem, list[str]]] = {}
    for device, problems in wrong.items():
        for p in problems:
            if p.key.split(".")[0] == "device":
                own = p.key if device == ONLY else key_path("devices", device) + p.key.removeprefix("device")
                found.append(p._replace(key=own))
            else:
                shared.setdefault((p.key, p.message), (p, []))[1].append(device)
    for p, having in shared.values():
        where = "" if set(having) == set(devices) else f" (device {', '.join(having)})"
        found.append(Problem(f"{key}.{p.key}", p.value, p.message + where))
    return found


def given_for(value: PerDeviceValue | None, owner: tuple[str, ...]) -> Any:
    """What stands there for these devices; None where nothing does."""
    if isinstance(value, dict):
        return next((value[d] for d in owner if d in value), None)
    return value
