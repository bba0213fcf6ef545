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
    """What is known of a parameter before the fit. It counts as one more observation of the parameter."""

    median: PerDeviceValue
    """Centre of the distribution."""
    factor: Annotated[float, Unit("", gt=1)] | None = None
    """One standard deviation as a factor; ln(value) is Gaussian. Give this or ``sd``."""
    sd: Written | None = None
    """One standard deviation in the unit of the parameter; the value is Gaussian."""


class Free(Strict):
    """A parameter that is fitted. Its key path is the name of its table."""

    low: Written | None = None
    """Lower bound. Without it, the bound of the parameter itself, if it has one."""
    high: Written | None = None
    """Upper bound."""
    start: PerDeviceValue | None = None
    """Value at which the search begins. Without it, the value of the device."""
    per_device: bool = False
    """One value for each device, instead of one for all."""
    experiments: tuple[str, ...] = ()
    """For a parameter of a circuit or a protocol: names of the experiments to which it belongs. Without it, all that
    have it."""
    prior: Prior | None = None
    """What is known of the parameter before the fit."""
    reach: Fraction | None = None
    """Reach of the differences of ensembles to either side of this parameter, as a share of it. Without it,
    ``search.reach``. Choose a large one where the numbers depend weakly on the parameter and noise would hide this, a
    small one where they depend steeply on it."""


class Read(Address):
    """Which number is read, from which experiment and which device."""

    experiment: str
    """Name of an entry of [experiments]."""
    device: str | None = None
    """Name of a device. Without it, all devices."""


class Target(Read):
    """A reported number that is fitted."""

    value: PerDeviceValue
    """The reported number with its unit: one number for all devices, or a table device → number. With [simulations] it
    may also be a bound, "> 20 ms" or "< 1 ms", or "undefined" where there was nothing to measure."""
    uncertainty: PerDeviceValue | None = None
    """One standard deviation: a quantity, or a share of the value, "5 %". A percentage is a share of the value also
    where the value is a pure number: 5 % of "62 %" is 0.031. Include everything by which the number may differ from the
    mean of all devices: the error of the instrument and, for a number of one device or a few, the scatter of devices.
    Leave out this scatter where ``of_devices`` is given. The calibration adds the error of the simulated mean."""
    of_devices: int | None = Field(None, ge=1, le=10_000_000)
    """Number of devices of which the reported number is a statistic, each with as many cycles as its experiment
    (``ensemble.cycles``). The scatter of such a statistic is then computed from the simulated population and added to
    the uncertainty, which may be left out. Give three or more; with [simulations] also one or two."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Factor of the deviation. With zero the number is computed at the end and shown, but not fitted."""
    scale: Literal["auto", "linear", "log"] = "auto"
    """Whether the deviation of the value or of its logarithm counts. auto: log for a positive value with a relative
    uncertainty."""
    source: str
    """Where the number is published."""


class Range(Strict):
    """Noise of an instrument in one of its ranges: floor + share · |reading|."""

    floor: Written
    """Standard deviation of a reading at zero current."""
    share: Annotated[float, Unit("", ge=0, le=1)] = 0.0
    """Share of the reading that is added."""
    up_to: Written | None = None
    """Largest current of the range. The last range has none."""


class Curve(Layout):
    """A measured current that is fitted: a file with columns of time, voltage and current.

    The current of a row is the mean since the row before, as an integrating instrument reads it. An empty current means
    that nothing was recorded. Two rows with the same time are a step of the voltage.
    """

    file: str
    """The measured file, in the folder of the calibration's file or below it."""
    device: str | None = None
    """Name of the measured device. It may be left out where there is only one."""
    circuit: dict[str, Any] | None = None
    """The ``[circuit]`` table of the measurement. Without it, the device alone."""
    noise: Written | Range | tuple[Range, ...]
    """Standard deviation of the instrument's noise in one reading of the file; for a mean, that of the mean. Give one
    number, or a floor and a share of the reading, or these for several ranges."""
    mean_of: int = Field(1, ge=1, le=1_000_000_000)
    """Number of devices whose mean current the file holds. With 1 it is the trace of a single device. Where devices
    differ from each other or from cycle to cycle, the file is one draw of many, and the errors include this."""
    between: Literal["step", "line"] = "step"
    """Voltage between two rows. step: that of the later row. line: a straight line from one row to the other."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Factor of the deviation. With zero the curve is computed at the end and shown, but not fitted."""
    source: str = ""
    """Where the curve comes from."""


class Measured(Layout):
    """Files of several measured devices. The measurements of one experiment are taken from each file, as by
    ``mcdev measure``. The targets are the statistics of these readings: median and spread of each number, and of each
    entry of a list (a point of a spectrum, a part of a trace).
    """

    experiment: str
    """Name of an entry of [experiments], which has the applied protocol and the measurements. Its ensemble.cycles must
    be the number of cycles in the files."""
    device: str | None = None
    """Name of an entry of [devices]. It may be left out where there is only one device."""
    files: str
    """Pattern of the file names, ``spectra/device*.csv``, in the folder of the calibration's file or below it."""
    pattern: str | None = None
    """Device and cycle in the file names, ``dev{device}_c{cycle}.csv``. Without it every file is one device with all of
    its cycles."""
    offset: str | None = None
    """Time in each file at which the protocol begins, "2.5 ms". Without it, the first row."""
    measurements: tuple[str, ...] = ()
    """Names of measurements of the experiment that are taken. Without it, all."""
    weight: Annotated[float, Unit("", ge=0)] = 1.0
    """Factor of the deviations. With zero the numbers are computed at the end and shown, but not fitted."""
    source: str = ""
    """Where the files come from. Without it, the pattern is shown."""


class Candidate(Read):
    """A number that could be measured next. The report says how much it would improve the parameters."""

    uncertainty: Written
    """Uncertainty with which the number would be known: a quantity, or a share of the value, "5 %"."""
    floor: Written | None = None
    """Resolution of the instrument. The uncertainty is not below this, however small the value is."""


class Limit(Strict):
    """Limits of a setting. Both may be chosen."""

    low: Written
    """Smallest value."""
    high: Written
    """Largest value."""


class Design(Strict):
    """Search for the next experiments: settings of the protocols of the candidates, within limits (docs/design.md)."""

    number: int = Field(3, ge=1, le=20)
    """Number of experiments, which are done together."""
    shrink: tuple[str, ...] = ()
    """Parameters whose intervals shall become small, as labelled in the table of results. Without it, all."""
    tell_apart: str | None = None
    """Instead of ``shrink``: one of [models], which the experiments shall distinguish from the configured model."""
    limits: dict[str, Limit] = Field(default_factory=dict)
    """Key path of a number of the protocol → its limits."""
    tries: int = Field(24, ge=1, le=100_000)
    """Number of settings of each candidate's experiment that are tried at first."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Seed of the settings that are tried."""


class Stage(Strict):
    """One stage of the search: an optimiser, and the size of the ensembles."""

    optimiser: Literal["levenberg_marquardt", "adam", "lbfgs"] = "levenberg_marquardt"
    """levenberg_marquardt: for sums of squares, the default. lbfgs: a quasi-Newton method. adam: small steps, for noisy
    derivatives."""
    steps: int = Field(100, ge=1, le=100_000)
    """Largest number of steps."""
    devices: int = Field(256, ge=1, le=10_000_000)
    """Number of realisations at each sweep point. Where all are alike, only one is computed."""
    learning_rate: Annotated[float, Unit("", gt=0, le=1)] = 0.05
    """For adam: about the relative change of a parameter in one step."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """For adam: course of the learning rate over the steps."""


class Starts(Strict):
    """Where searches begin. The first start is that of the configuration."""

    number: int = Field(1, ge=1, le=10_000)
    """Number of searches."""
    factor: Annotated[float, Unit("", ge=1, le=1000)] = 1.0
    """For each further start, every free parameter is multiplied by a random factor between 1/factor and factor, within
    its bounds."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Seed of the random factors."""


class Model(Strict):
    """A variant of the model that is also fitted. It is compared by information criteria."""

    per_device: tuple[str, ...] = ()
    """Parameters with one value for each device. The other free parameters are shared."""
    fixed: tuple[str, ...] = ()
    """Parameters that are not free."""


class Search(Strict):
    """How the best parameters are searched for."""

    stages: tuple[Stage, ...] = ()
    """Stages that are done from each start, in order. Without them, stages that suit the devices."""
    starts: Starts = Starts()
    """Where searches begin."""
    derivatives: Literal["auto", "estimator", "differences"] = "auto"
    """Derivatives for hopping particles. estimator: the estimator, and differences where it is too noisy. differences:
    differences everywhere. auto: differences where an experiment has fewer than sixteen parameters, since they cost
    less there (docs/calibration.md)."""
    reach: Fraction = 0.05
    """Reach of a difference of ensembles of hopping particles to either side, as a share of the parameter. A parameter
    may have a reach of its own."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Seed of the random numbers of the simulated devices."""
    members: int = Field(32, ge=1, le=100_000)
    """Number of simulated devices where devices have no noise, but differ in their parameters. The same devices are
    used in the whole search, so that the derivatives are exact. For statistics of a population of D devices use ten
    times D or more."""
    largest_ensemble: int = Field(4096, ge=1, le=10_000_000)
    """Size to which a search may enlarge its ensembles where the derivative is mostly noise."""


class Simulations(Strict):
    """Inference from simulations, instead of a search. Parameters are drawn from their priors, data are simulated for
    each draw, and a network learns the posterior from the pairs (docs/posterior.md)."""

    number: int = Field(10_000, ge=100, le=10_000_000)
    """Number of simulated data sets. They are simulated in parts of 256."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Seed of the draws, the devices and the training."""
    trained: str | None = None
    """Folder of an earlier calibration of the same experiments and parameters. Its simulations and its network are
    used, and only the predictions of the posterior are simulated."""


class Report(Strict):
    """What is computed after the search."""

    profile: tuple[str, ...] = ()
    """Parameters for which the profile of the likelihood is computed, as labelled in the table of results."""
    profile_points: int = Field(9, ge=3, le=101)
    """Number of points of each profile."""
    posterior: int = Field(0, ge=0, le=1_000_000)
    """Number of draws from the posterior at the end. They are made by gradients (NUTS), where every derivative is
    exact. With [simulations] they are made from the network that has learnt the posterior, and 0 stands for 2000."""
    final_devices: int = Field(2000, ge=1, le=10_000_000)
    """Number of realisations at each sweep point with which the fitted device is shown."""


class Job(Strict):
    """The whole file."""

    name: FileName
    """Name of the calibration. The folder of results has this name."""
    description: str = Field("", max_length=4000)
    """Free text. It is kept with the results."""
    notes: tuple[str, ...] = ()
    """Remarks for the reader of the results. They are shown with them."""
    device: dict[str, Any] | None = None
    """The [device] table, where there is only one device."""
    devices: dict[FileName, dict[str, Any]] = Field(default_factory=dict)
    """Name → [device] table, where there are several devices."""
    experiments: dict[FileName, dict[str, Any]] = Field(default_factory=dict)
    """Name → sections of an experiment; or file = "….toml", with changes in set = { key path = value }."""
    parameters: dict[str, Free] = Field(min_length=1)
    """Key path of a parameter that is fitted → its bounds, start and prior."""
    targets: tuple[Target, ...] = ()
    """Reported numbers that are fitted."""
    curves: tuple[Curve, ...] = ()
    """Measured currents that are fitted."""
    measured: tuple[Measured, ...] = ()
    """Files of measured devices. Their statistics are fitted."""
    candidates: tuple[Candidate, ...] = ()
    """Numbers that could be measured next."""
    design: Design | None = None
    """Search for the next experiments."""
    models: dict[Name, Model] = Field(default_factory=dict)
    """Name → a variant of the model that is also fitted, and compared."""
    search: Search = Search()
    """How the best parameters are searched for."""
    simulations: Simulations | None = None
    """Inference from simulations. It replaces [search]."""
    report: Report = Report()
    """What is computed at the end."""
    directory: str = "runs"
    """Folder in which each calibration makes its own folder."""


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
