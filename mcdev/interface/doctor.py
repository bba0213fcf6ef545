"""What this installation runs on, and what is known to be wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from mcdev.machine import compilation_cache
from mcdev.machine.environment import NoBackend, backend, computing, try_flags
from mcdev.machine.gpu import described
from mcdev.machine.provenance import own_version
from mcdev.machine.threads import cores
from mcdev.simulation.program import compiler_options

_PACKAGES = ("mcdev", "jax", "jaxlib", "equinox", "numpy", "scipy", "pydantic", "xarray", "h5netcdf", "h5py")
_ABSENT = "absent"
_KNOWN_BAD = {
    "0.10.2": "gives silently wrong results on CPU (a vmapped matrix-vector product followed by a reduction, "
    "n ≥ 16385; jax issue 39103): install another version"
}


@dataclass
class Findings:
    facts: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)


def examine() -> Findings:
    """Facts and troubles of this installation; computes a few small things to see that it can."""
    found = Findings()
    versions = {name: _version(name) for name in _PACKAGES}
    found.facts["python"] = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found.facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    found.facts["settings"] = ", ".join(f"{key}={value}" for key, value in _settings().items()) or "none"
    found.facts["cores"] = str(cores())
    place = compilation_cache.folder()
    found.facts["compiled programs"] = f"kept in {place}" if place else "not kept: switched off, or no home folder"
    for examination in (_backend, _precision, _arithmetic):
        try:
            examination(found)
        except NoBackend as error:
            found.troubles.append(str(error))
            break  # the others compute something
        except Exception as error:  # whatever it died of is what the doctor was asked
            what = (examination.__doc__ or "").rstrip(".")
            found.troubles.append(f"{what}: {type(error).__name__} {error}")
    found.troubles += [f"{name} is not installed" for name, version in versions.items() if version == _ABSENT]
    for name in ("jax", "jaxlib"):
        if versions[name] in _KNOWN_BAD:
            found.troubles.append(f"{name} {versions[name]} {_KNOWN_BAD[versions[name]]}")
    if versions["jax"].rsplit(".", 1)[0] != versions["jaxlib"].rsplit(".", 1)[0]:
        found.troubles.append(f"jax {versions['jax']} and jaxlib {versions['jaxlib']} do not belong together")
    if os.environ.get("JAX_DISABLE_JIT", "") not in ("", "0", "false", "False"):
        found.troubles.append("JAX_DISABLE_JIT is set: nothing is compiled, and a run takes thousands of times longer")
    return found


def _version(name: str) -> str:
    try:
        return own_version() if name == "mcdev" else importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _ABSENT


def _settings() -> dict[str, str]:
    """Variables of the environment that JAX, XLA and mcdev read."""
    return {key: value for key, value in sorted(os.environ.items()) if key.startswith(("JAX_", "XLA_", "MCDEV_"))}


def _backend(found: Findings) -> None:
    """What JAX computes on."""
    try_flags()
    name = backend()
    found.facts["backend"] = name
    found.facts["devices"] = ", ".join(f"{d.id}: {d.device_kind}" for d in jax.devices())
    found.facts["wide vectors"] = _vectors(name)
    if name == "gpu":
        found.facts["on the GPU"] = "; ".join(described())


def _precision(found: Findings) -> None:
    """Single or double precision."""
    found.facts["precision"] = "float32 for particles, float64 for ions, unless ensemble.precision says otherwise; " + (
        "this process has x64 switched on" if jnp.zeros(1).dtype == np.float64 else "x64 is off outside a run"
    )


def _arithmetic(found: Findings) -> None:
    """A sum whose value is known."""
    with computing(False):
        right = _reduction_is_right()
    if not right:
        found.troubles.append("a vmapped product followed by a sum comes out wrong: results cannot be trusted")


def _vectors(backend: str) -> str:
    """Which vector registers the processor offers and what is asked of the compiler."""
    if backend != "cpu":
        return "not a CPU"
    asked = compiler_options(backend).get("xla_cpu_prefer_vector_width", "default")
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return f"{asked} bits asked of the compiler; the processor's are not known here"
    widest = 512 if " avx512f" in flags else 256 if " avx2" in flags else 128
    return f"{asked} bits asked of the compiler, {widest} bits offered by the processor"


def _reduction_is_right() -> bool:
    n = 2**14 + 1
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(n, 3, 3)), jnp.float32)
    vector = jnp.ones((n, 3), jnp.float32)
    fast = jax.jit(lambda a, b: jax.vmap(lambda m, v: (m @ v).sum())(a, b))(matrix, vector)
    return bool(np.allclose(fast, np.asarray(matrix).sum(axis=(1, 2)), atol=1e-4))
