"""What a number depends on, to its last bit: what was asked for, and what computed it.

A record, a chunk and an evaluation carry it as readable fields. Two that differ in a bit differ in one of these; which
one, :meth:`Identity.differences` says.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mcdev.machine.environment import backend
from mcdev.machine.gpu import described
from mcdev.machine.provenance import code_version, libraries
from mcdev.schema import Strict

_SETTINGS = (
    *("enable_x64", "default_matmul_precision", "default_prng_impl", "threefry_partitionable", "random_seed_offset"),
    *("disable_jit", "disable_most_optimizations", "optimization_level", "exec_time_optimization_effort"),
    *("numpy_dtype_promotion", "use_direct_linearize"),
)
"""Of JAX's configuration: what can change a result."""
_VARIABLES = (
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "MKL_CBWR"),
    *("GLIBC_TUNABLES", "NVIDIA_TF32_OVERRIDE"),
)
"""Of the environment, besides ``XLA_FLAGS``: they choose among implementations of one function."""
_HARMLESS = ("--xla_dump_", "--xla_hlo_profile", "--xla_force_host_platform_device_count")
"""Options of XLA that change no result: a part of the work on another device is the same work."""
_SHOWN = 6  # parts of a difference that a message names


class Origin(Strict):
    """The code and the machine that computed something. Each field is a list, its items parted by commas."""

    code: str
    """SHA-256 of mcdev's sources."""
    backend: str
    """Of JAX: cpu, cuda, …"""
    libraries: str
    """Those that compute, with versions."""
    system: str
    """Operating system and C library, which has some of the functions."""
    accelerator: str
    """Kind of device and its driver."""
    processor: str
    """What XLA compiles for, and the kernels that NumPy has chosen."""
    flags: str
    """Options of XLA, and of the environment, that change bits; on a GPU which of its ways are taken."""
    settings: str
    """Of JAX."""

    @classmethod
    def here(cls) -> Origin:
        """Of this process."""
        values: Mapping[str, Any] = jax.config.values
        set_ = {name: values[f"jax_{name}"] for name in _SETTINGS if f"jax_{name}" in values}
        fixed = _fixed()
        found = fixed | {
            "flags": ", ".join(filter(None, [fixed["flags"], *described()])) or "none",
            "settings": ", ".join(f"{name} {getattr(value, 'value', value)}" for name, value in set_.items()),
        }
        return cls(**found)


class Difference(NamedTuple):
    """One part in which two identities differ."""

    part: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.part}: {self.there} there, {self.here} here"


class Identity(Strict):
    """What was asked for, and what computes it."""

    configuration: str
    """SHA-256 of everything that was asked for, resolved."""
    seed: int
    origin: Origin
    plugins: tuple[str, ...] = ()
    """Name and SHA-256 of the source of each plugin whose kinds were asked for, parted by a blank."""

    @classmethod
    def of(cls, asked: str | bytes, seed: int, plugins: Iterable[object] = ()) -> Identity:
        """Of work that this process does."""
        text = asked.encode() if isinstance(asked, str) else asked
        return cls(
            configuration=hashlib.sha256(text).hexdigest(),
            seed=seed,
            origin=Origin.here(),
            plugins=tuple(sorted(map(str, plugins))),
        )

    def made_by(self, origin: Origin) -> Identity:
        """The same work, done elsewhere."""
        return self.model_copy(update={"origin": origin})

    def asks_otherwise(self, other: Identity) -> bool:
        """Whether something else was asked for."""
        return (self.configuration, self.seed, self.plugins) != (other.configuration, other.seed, other.plugins)

    def changed_plugins(self, here: Identity) -> list[str]:
        """How the plugins here differ from those with which this was asked for, in words."""
        there, now = (dict(each.rsplit(" ", 1) for each in of.plugins) for of in (self, here))
        return [
            f"plugin {name} has changed ({there[name][:12]} there, {now[name][:12]} here)"
            if name in there and name in now
            else f"plugin {name} is {'given only here' if name in now else 'not given'}"
            for name in sorted({*there, *now})
            if there.get(name) != now.get(name)
        ]


def differences(there: Origin, here: Origin) -> list[Difference]:
    """Field by field: the items that one has and the other has not."""
    found = []
    for name in Origin.model_fields:
        a, b = getattr(there, name).split(", "), getattr(here, name).split(", ")
        if a != b:
            found.append(Difference(name, _only(a, b), _only(b, a)))
    return found


def exclusive(found: Sequence[Difference]) -> list[Difference]:
    """Those of them that no option can accept: another version of the code may mean another thing by the same name, and
    another backend cuts the work otherwise."""
    return [difference for difference in found if difference.part in ("code", "backend")]


def told(found: Iterable[Difference]) -> str:
    """Differences in one line."""
    return "; ".join(str(difference) for difference in found)


def written(origins: Sequence[Origin]) -> str:
    """As an attribute of results has them: one a line; of many the first few, since an attribute holds 64 kB."""
    return "\n".join(origin.model_dump_json() for origin in origins[:_SHOWN])


def together(origins: Iterable[Origin]) -> str:
    """A warning where numbers of several machines were put together; else nothing."""
    first, *others = dict.fromkeys(origins)
    if not others:
        return ""
    how = ", and ".join(told(differences(first, other)) for other in others[:_SHOWN])
    return f"numbers of {1 + len(others)} machines are put together, which differ in their last bits: {how}"


def _only(items: list[str], others: list[str]) -> str:
    own = [item[:12] if re.fullmatch("[0-9a-f]{64}", item) else item for item in items if item not in others]
    return " ".join(own[:_SHOWN]) + (f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else "") or "nothing more"


# -------------------------------------------------------------------------------------- this machine


@functools.cache
def _fixed() -> dict[str, str]:
    """What does not change while a process lives."""
    device = jax.devices()[0]
    version = str(getattr(device.client, "platform_version", "")).split("\n")
    return {
        "code": code_version(),
        "backend": backend(),
        "libraries": libraries(),
        "system": ", ".join(
            filter(None, (platform.system(), platform.machine(), *platform.libc_ver(), platform.mac_ver()[0]))
        ),
        "accelerator": ", ".join(dict.fromkeys([str(device.device_kind), *version])),
        "processor": ", ".join([*_compiled_for(), *_numpy_kernels()]),
        "flags": ", ".join(_flags()),
    }


def _compiled_for() -> list[str]:
    """Target, processor and its features as XLA compiles for them: its own words, from a program that it compiles now.
    What the operating system says of the processor where it keeps them to itself."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
        with jax.default_device(cpu):
            whole = jax.jit(lambda x: x + 1.0).lower(np.float32(0)).compile().runtime_executable()
            text = bytes(cpu.client.serialize_executable(whole))
    except Exception:  # no CPU backend, or an executable that is not one of ours to read
        text = b""
    features = re.search(rb"[+-][a-z0-9][a-z0-9._-]*(?:,[+-][a-z0-9][a-z0-9._-]*)+", text)
    if features is None:
        return _words_on_the_processor()
    before = re.findall(rb"[a-z0-9][a-z0-9._-]{2,}", text[: features.start()])[-2:]
    own = [item[1:] for item in features.group().split(b",") if item.startswith(b"+")]
    return [word.decode() for word in (*before, *own)]


def _words_on_the_processor() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith(("flags", "Features"))), "")
            if line:
                return sorted(line.partition(":")[2].split())
    except OSError:
        pass
    return [platform.processor() or "unknown"]


def _numpy_kernels() -> list[str]:
    """The instruction sets that NumPy has chosen for its functions."""
    try:
        from numpy.lib.introspect import opt_func_info  # from NumPy 2.1
    except ImportError:
        return [f"numpy {np.__version__}"]
    chosen = {kind["current"] for kinds in opt_func_info().values() for kind in kinds.values()}
    return [f"numpy {name}" for name in sorted(chosen)]


def _flags() -> list[str]:
    """In alphabetical order, each once, as the last one said; those that change nothing left out."""
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("-"):  # the name of a file
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError):
            text = f"file {text}"
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    last = {word.partition("=")[0]: word for word in words if not word.startswith(_HARMLESS)}
    set_ = [f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)]
    return [last[name] for name in sorted(last)] + set_
