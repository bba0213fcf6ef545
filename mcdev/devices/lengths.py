"""Lengths of the nanoparticle device in metres instead of shares of the half gap; a diffusion coefficient for friction.

    λ, R_I, R_p, x_c → /L_0        η = θ_0 κ L_0²/D,  θ_0 = k_B T_0/w_p

with L_0 the reference gap, the half gap where none is given, which then becomes the reference: the material keeps its
nanometres whatever the gap. D is that of a particle without wells at T_0 (Einstein, k_B T_0 = γ D; η = γ κ L²/w_p).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError
from scipy.constants import Boltzmann

from mcdev.schema import PerDevice, Unit, refuse, typical

_LENGTHS = ("tunnelling_length", "interfacial_centre", "interfacial_width", "pinning_period")
_METRES, _DIFFUSION = PerDevice("m"), Unit("m^2/s", gt=0)


def as_shares(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a device as its keys have it: every length that is written with a unit as a share of the reference
    gap, a diffusion coefficient as a friction. Raises where some lengths have a unit and some have none: what of the
    material stays when the gap changes would then be told twice."""
    lengths = {key: found for key in _LENGTHS if (found := _with_unit(table.get(key), _METRES)) is not None}
    diffusion = _with_unit(table.get("friction"), _DIFFUSION)
    if not lengths and diffusion is None:
        return dict(table)
    own = table.get("reference_gap") is None
    bare = [key for key in _LENGTHS if key in table and key not in lengths]
    bare += ["friction"] if "friction" in table and diffusion is None else []
    if own and bare:
        refuse(
            table[bare[0]],
            "others of this device are written with units, and this one is a share of the gap: expected "
            "tunnelling_length, interfacial_centre, interfacial_width and pinning_period as lengths, friction as a "
            "diffusion coefficient",
            "write it with its unit, or state the reference_gap of which it is a share",
            key=bare[0],
        )
    gap = _typical(table, "half_gap" if own else "reference_gap", _METRES)
    if gap is None:  # it is missing or no length, which its own key says; the others shall not be blamed beside it
        gap, own = 1.0, False
    given: dict[str, Any] = {**table, **{key: _share(value, gap) for key, value in lengths.items()}}
    if own:
        given["reference_gap"] = f"{gap!r} m"
    if diffusion is not None:
        scales = [
            _typical(table, key, PerDevice(unit))
            for key, unit in (("background_temperature", "K"), ("cooling_rate", "Hz"), ("pinning_energy", "eV"))
        ]
        kelvin, rate, energy = (1.0 if scale is None else scale for scale in scales)  # again, their keys say so
        given["friction"] = _friction(diffusion, Boltzmann * kelvin / energy * rate * gap**2)
    return given


def _is(text: Any, unit: Unit) -> bool:
    if not isinstance(text, str):
        return False
    try:
        unit.parse(text)
    except PydanticCustomError:
        return False
    return True


def _with_unit(value: Any, unit: Unit) -> Any:
    """A value or a table of a distribution if it is written in this unit; else None."""
    texts = value.values() if isinstance(value, Mapping) else (value,)
    return value if any(_is(text, unit) for text in texts) else None


def _share(value: Any, gap: float) -> Any:
    """Of a length, or of a distribution of one."""
    if isinstance(value, Mapping):
        return {key: _share(each, gap) for key, each in value.items()}
    return _METRES.parse(value) / gap if _is(value, _METRES) else value


def _friction(diffusion: Any, scale: float) -> Any:
    """``scale``/D, or the distribution of it: of a lognormal D it is lognormal with the same sigma."""
    if not isinstance(diffusion, Mapping):
        return scale / _DIFFUSION.parse(diffusion)
    if diffusion.get("distribution") != "lognormal":
        remedy = "or give the distribution of friction itself"
        refuse(
            diffusion, "expected a diffusion coefficient, or a lognormal distribution of one", remedy, key="friction"
        )
    turned = {"low": "high", "high": "low"}
    return {
        turned.get(key, key): scale / _DIFFUSION.parse(each) if _is(each, _DIFFUSION) else each
        for key, each in diffusion.items()
    }


def _typical(table: Mapping[str, Any], key: str, unit: PerDevice) -> float | None:
    """Median of a key in SI units; None where it is missing or wrong."""
    try:
        return typical(unit.parse_drawn(table.get(key)))
    except PydanticCustomError:
        return None
