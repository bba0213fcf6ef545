"""The diffusive memristor: metal nanoparticles in an oxide (Wang et al. 2017, doi:10.1038/nmat4756).

Reduced units inside: length L (half the gap), time 1/κ, energy w_p, v = V/V_th, θ = k_B T/w_p, g = G/G_max.

    η dx = [-U'(x) + f v] dt + sqrt(2 η θ) dW     every particle, walls at ±1   (eq. 4)
    g    = R_min/R_M(sorted x)                                                  (eq. 3, tunnelling.py)
    dθ   = [h v² g - (θ - θ_0)] dt                                              (eq. 5)

What the paper leaves open is resolved in docs/model.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator
from scipy.constants import Boltzmann

from mcdev.devices.contract import Pace, Score, per_lane
from mcdev.devices.diffusive_particles import DiffusiveDevices
from mcdev.devices.diffusive_score import carrying_score
from mcdev.devices.landscape import Attraction, Landscape, curvature_bound
from mcdev.devices.nanoparticles import Nanoparticles
from mcdev.integrators.langevin import SCHEMES
from mcdev.schema import Share, Strict, Unit, extremes, refuse, typical

# Coupling interval at v = 1 in units of 1/κ (η = 4): below 0.1 % bias of the conductance, docs/numerics.md.
_COUPLING = 2e-2


class Integrator(Strict):
    """How the Langevin equation is integrated. The defaults follow from the device; docs/numerics.md says how."""

    scheme: Literal["euler_maruyama", "heun", "leimkuhler_matthews"] = "heun"
    """heun: order 2, the default. euler_maruyama: order 1. leimkuhler_matthews: for averages at equilibrium only,
    because it slows the crossing of barriers."""
    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Time step. auto: a fixed share of the relaxation time of the steepest well."""
    coupling_interval: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Interval after which resistance, circuit and temperature are updated. auto: by voltage, cooling rate and
    friction."""


class Diffusive(Nanoparticles):
    """Metal nanoparticles between two terminals. Pure numbers are in units of the five scales."""

    kind: Literal["diffusive"] = "diffusive"
    interaction: Share = 0.0
    """Share of the interfacial energy that acts as an attraction between particles instead of fixed wells. The
    attraction belongs to no terminal; interfacial_ratio applies to the fixed wells that remain."""
    integrator: Integrator = Integrator()
    """How the Langevin equation is integrated."""

    differentiable: ClassVar[bool] = False
    precision: ClassVar[Literal["float32", "float64"]] = "float32"
    # 40 particles of 256 lanes stay in a core's second-level cache.
    lanes: ClassVar[dict[str, int]] = {"cpu": 256, "gpu": 65536, "tpu": 8192}
    remedy: ClassVar[str] = "a smaller device.integrator.step may help"

    @model_validator(mode="after")
    def _consistent(self) -> Diffusive:
        if self.interaction > 0 and self.initial_split == "equilibrium":
            refuse(
                self.initial_split,
                "with an interaction between particles the equilibrium split has no closed form: expected a share",
                "write initial_split = 0.5 and give ensemble.equilibration a time",
                key="initial_split",
            )
        if self.interaction > 0 and self.particles == 1:
            refuse(
                self.interaction,
                "one particle has none to attract it: expected 0, or two particles at least",
                "write interaction = 0",
                key="interaction",
            )
        scheme = SCHEMES[self.integrator.scheme]
        if self.integrator.step != "auto" and self._stiffness(self.integrator.step) > scheme.stability_limit:
            refuse(
                f"{self.integrator.step:g} s",
                f"the step exceeds the stability limit of {self.integrator.scheme}, "
                f"{scheme.stability_limit / self._stiffness(1.0):.3g} s for the steepest well",
                f'write step = "auto" (it takes {scheme.curvature_step / self._stiffness(1.0):.3g} s)',
                key="integrator.step",
            )
        return self

    # ------------------------------------------------------------------------------- time steps

    def _stiffness(self, step: float) -> float:
        """h · max|U''| for the stiffest device: its curvature times its mobility times the step."""
        deepest, narrowest = 1.0, self.span("pinning_period")[0]
        if self.pinning_disorder is not None:  # four standard deviations of a single well
            deepest = float(np.exp(4 * self.pinning_disorder.depth_sigma))
            narrowest *= float(np.exp(-4 * self.pinning_disorder.period_sigma))
        depth = extremes(self.interfacial_energy)[1]
        # All particles in one cluster may turn its well into a hill that is higher than the well was deep.
        over = max(2.0 / extremes(self.capacity_content)[0] - 1.0, 0.0)
        most = max(1.0, extremes(self.capacity_stiffness)[1] * over - 1.0)
        curvature = curvature_bound(
            depth * (1 - self.interaction) * max(1.0, extremes(self.interfacial_ratio)[1]) * most,
            self.span("interfacial_width")[0],
            narrowest,
            deepest,
            depth * self.interaction,
        )
        return curvature * extremes(self.cooling_rate)[1] * step / self.span("friction")[0]

    def pace(self, voltage: float) -> Pace:
        """Step: ``curvature_step`` of the scheme. Coupling interval: the conductance changes through drift and
        heating, both driven by the voltage; see docs/numerics.md for the measured bias."""
        step = SCHEMES[self.integrator.scheme].curvature_step / self._stiffness(1.0)
        if self.integrator.step != "auto":
            step = self.integrator.step
        if self.integrator.coupling_interval != "auto":
            return Pace(self.integrator.coupling_interval, step)
        v = abs(voltage) / extremes(self.threshold_voltage)[0]
        eta, kappa = self.span("friction")[0], extremes(self.cooling_rate)[1]
        driven = _COUPLING / kappa * min(1.0, eta / 4.0) / max(v, 1e-9) ** 2
        return Pace(min(max(driven, 2 * step), 64 * step), step)

    def conflicts(self, kinetic: bool) -> list[tuple[str, Any, str]]:
        scheme = self.integrator.scheme
        if SCHEMES[scheme].kinetics or not kinetic:
            return []
        message = (
            "slows barrier crossing, so it is for equilibrium averages only (protocol hold with measurement "
            "mean_conductance); for kinetics write 'heun'"
        )
        return [("integrator.scheme", scheme, message)]

    def concerns(self) -> list[tuple[str, str]]:
        found = super().concerns()
        default = SCHEMES[self.integrator.scheme].curvature_step / self._stiffness(1.0)
        if self.integrator.step != "auto" and self.integrator.step > 1.5 * default:
            found.append(
                (
                    "integrator.step",
                    f"{self.integrator.step:g} s is {self.integrator.step / default:.1f} times the default of "
                    f"{default:.3g} s: rates may be off by more than 1 %",
                )
            )
        if self.integrator.coupling_interval != "auto":
            auto = self.model_copy(update={"integrator": Integrator(scheme=self.integrator.scheme)})
            if self.integrator.coupling_interval > 4 * auto.pace(4 * typical(self.threshold_voltage)).coupling:
                found.append(
                    (
                        "integrator.coupling_interval",
                        f"{self.integrator.coupling_interval:g} s holds resistance and temperature fixed for long: "
                        "at 4 V_th the conductance may be off by more than 1 %",
                    )
                )
        return found

    def idle(self, spectral: bool) -> Mapping[str, str]:
        if self.interaction < 1:
            return super().idle(spectral)
        wells = ("interfacial_ratio", "capacity_stiffness", "capacity_content")
        return dict.fromkeys(wells, "with interaction = 1 nothing of the interfacial energy stays in the wells")

    def rest_report(self, duration: float) -> list[str]:
        if self.interaction > 0 and self.initial_state == "rest":
            return [
                "rest check: with an interaction between particles the resting state has no closed form; the run "
                "starts from clusters in the fixed wells (give ensemble.equilibration a time to let them settle)"
            ]
        return [] if self.interaction > 0 else super().rest_report(duration)

    @property
    def score(self) -> Score:
        """By Euler-Maruyama at its default step, since the weight of a step must be that of one Gaussian."""
        if self.interaction > 0:
            raise ValueError(
                "with an interaction between the particles the force on one depends on all others, which the score "
                "does not know: use differences with common random numbers, or interaction = 0"
            )
        if extremes(self.capacity_stiffness)[1] > 0:
            raise ValueError(
                "with a capacity of the clusters the force on one particle depends on all others, which the score does "
                "not know: use differences with common random numbers, or capacity_stiffness = 0"
            )
        integrator = Integrator(scheme="euler_maruyama", coupling_interval=self.integrator.coupling_interval)
        return Score(self.model_copy(update={"integrator": integrator}), carrying_score)

    # ------------------------------------------------------------------------------- building

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> DiffusiveDevices:
        p = self.shares({name: np.asarray(value, dtype=np.float64) for name, value in draws.items()})

        def lanes(value: np.ndarray) -> Any:
            return per_lane(value, dtype)

        attraction = None
        if self.interaction > 0:
            attraction = Attraction(
                lanes(p["interfacial_energy"] * self.interaction), lanes(1.0 / p["interfacial_width"])
            )
        fixed = self.landscape(p, seed, devices, lanes, 1.0 - self.interaction)
        # A cluster of half of the particles holds each of them as deep as the share of a well that it replaces.
        ratio = p["interfacial_ratio"] * (1.0 - self.interaction) + self.interaction
        return DiffusiveDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            landscape=Landscape(fixed.wells, fixed.pinning, attraction, fixed.capacity),
            full_depth=lanes(p["interfacial_energy"]),
            full_right=None if fixed.wells.right is None else lanes(p["interfacial_energy"] * ratio),
            theta_0=lanes(Boltzmann * p["background_temperature"] / p["pinning_energy"]),
            kelvin=lanes(p["pinning_energy"] / Boltzmann),
            particles=self.particles,
            left=self.left,
            bridge=self.initial_state == "bridge",
            bins=self.profile_count,
            profile_scale=typical(self.half_gap),
            scheme=SCHEMES[self.integrator.scheme],
        )
