"""The process that mcdev finds itself in: JAX's settings, closed and full outputs, narrow terminals, no home."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from conftest import reduced
from rich.table import Table
from test_cli import MCDEV

import mcdev
from mcdev.interface import cli, doctor, terminal
from mcdev.machine import compilation_cache, environment, provenance
from mcdev.machine.environment import NoBackend, backend, computing


def shell(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The installed program in its own process."""
    return subprocess.run(
        [MCDEV, *arguments], env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_doctor_says_in_words_that_jax_cannot_start() -> None:
    done = shell("doctor", JAX_PLATFORMS="cuda")
    assert done.returncode == 1
    assert "JAX_PLATFORMS = cuda: JAX cannot start" in done.stdout
    assert "unset JAX_PLATFORMS, or set it to cpu" in done.stdout
    assert "versions" in done.stdout
    assert done.stderr == ""


def failing(*_: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_command_says_in_words_that_jax_cannot_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jax, "default_backend", failing)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(sys, "argv", ["mcdev", command, str(tmp_path / "x.toml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "error: JAX_PLATFORMS = cuda: JAX cannot start" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("flags", ["--nonsense", "/no/such/file"])
def test_flags_for_which_xla_ends_the_process_are_said(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the doctor too, which does not end with it."""
    monkeypatch.setenv("XLA_FLAGS", flags)
    with pytest.raises(NoBackend, match=rf"XLA_FLAGS = {flags}: XLA cannot start .*{flags}.*unset XLA_FLAGS"):
        environment.try_flags()
    found = doctor.examine()
    assert any(trouble.startswith(f"XLA_FLAGS = {flags}") for trouble in found.troubles)
    assert "backend" not in found.facts


def test_flags_that_xla_takes_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=SSE4_2")
    environment.try_flags()


def test_a_run_says_in_one_line_that_xla_does_not_take_its_flags(tmp_path: Path) -> None:
    done = shell("run", str(tmp_path / "none.toml"), XLA_FLAGS="--nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("error: XLA_FLAGS = --nonsense: XLA cannot start with them (Unknown flag")
    assert done.stderr.count("\n") <= 3, "no word of XLA's own"


def test_a_checkout_that_nobody_installed_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, and its results say where they are from."""
    true = importlib.metadata.version

    def version(name: str) -> str:
        if name == "mcdev":
            raise importlib.metadata.PackageNotFoundError(name)
        return true(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    project = tomllib.loads((Path(mcdev.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert provenance.own_version() == f"{project['version']} (not installed)"
    tree = mcdev.run(reduced(ensemble={"devices": 4}))
    assert tree.attrs["versions"].startswith(f"mcdev {project['version']} (not installed), jax ")
    assert not [trouble for trouble in doctor.examine().troubles if "mcdev" in trouble]
    monkeypatch.setattr(provenance, "__file__", "/nowhere/mcdev/machine/provenance.py")
    assert provenance.own_version() == "unknown (not installed)"


def test_the_doctor_survives_what_it_is_there_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    monkeypatch.setattr(doctor, "_reduction_is_right", failing)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    monkeypatch.setenv("JAX_DISABLE_JIT", "1")
    monkeypatch.delenv(compilation_cache.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = doctor.examine()
    assert "h5py is not installed" in found.troubles
    assert "A sum whose value is known: AssertionError " in found.troubles
    assert any(trouble.startswith("JAX_DISABLE_JIT is set") for trouble in found.troubles)
    assert "JAX_DISABLE_JIT=1" in found.facts["settings"]
    assert found.facts["compiled programs"] == "not kept: switched off, or no home folder"


def no_home(cls: type) -> Path:
    """As in a container whose user has neither HOME nor an entry in the list of users."""
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("said", ["", "on", "~/cache"])
def test_without_a_home_nothing_is_kept(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(compilation_cache.VARIABLE, said)
    assert compilation_cache.folder() is None


@pytest.mark.parametrize("setting", ["jax_debug_nans", "jax_debug_infs"])
def test_nan_is_a_result_whatever_jax_is_told(setting: str) -> None:
    switch: Any = getattr(jax, setting.removeprefix("jax_"))
    with switch(True):
        with pytest.raises(FloatingPointError):
            jnp.divide(jnp.zeros(2) + 1.0, jnp.zeros(2)) - jnp.inf
        with computing(False):
            assert not jnp.isfinite(jnp.divide(jnp.zeros(2) + 1.0, jnp.zeros(2)) - jnp.inf).any()


def test_everything_is_computed_by_the_same_rules() -> None:
    """JAX's own switch of precision is used in one place, which sets the other rules too."""
    files = Path(mcdev.__file__).parent.rglob("*.py")
    users = {file.name for file in files if "jax.enable_x64" in file.read_text(encoding="utf-8")}
    assert users == {"environment.py"}
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), computing(True):
        assert (jnp.ones((2, 2)) + jnp.ones(2, jnp.float32)).dtype == jnp.float64


def test_a_backend_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", failing)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with pytest.raises(NoBackend, match="mcdev doctor says more"):
        backend()


# ------------------------------------------------------------------------------- outputs


class Full(io.StringIO):
    """A disk without room, or a pipe that nobody reads."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("number", "code", "said"), [(errno.ENOSPC, 3, "No space left"), (errno.EPIPE, 0, "")])
def test_what_is_computed_survives_its_output(
    number: int, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Full(number))
    monkeypatch.setattr(sys, "argv", ["mcdev", "presets"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert bool(err) == bool(said)


def test_output_that_is_closed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["mcdev", "schema"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_an_output_has_not_are_written_out(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(sys, "argv", ["mcdev", "presets"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert b"\\u03b3" in raw.getvalue() or b"\\u03ba" in raw.getvalue()


def test_a_reader_may_have_seen_enough() -> None:
    """As ``mcdev schema | head -1``: not a word, neither of the program nor of Python's own last flush."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([MCDEV, "schema"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("width", [20, 40, 80])
def test_names_and_means_stay_on_a_narrow_terminal(width: int) -> None:
    screen = terminal.Screen(width=width)
    screen.file = io.StringIO()
    table = Table()
    for heading in ("measurement", "n", "mean ± s.e.", "median", "5-95 %"):
        table.add_column(heading, no_wrap=heading != "measurement")
    table.add_row("switching_time (ms)", "128", "12.345 ± 0.012", "12.3", "11.1 … 13.9")
    screen.table(table)
    said = screen.file.getvalue()
    for word in ("switching_time (ms)", "128", "12.345 ± 0.012", "12.3", "11.1 … 13.9"):
        assert word in said, said
