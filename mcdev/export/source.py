"""What ``mcdev export`` does: a run or a configuration in, model files out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcdev.configuration.experiment import Experiment, load
from mcdev.configuration.extends import read_toml
from mcdev.configuration.problems import shown
from mcdev.export import instances, spice, verilog_a
from mcdev.export.model import Model, model_of, words_of_pair
from mcdev.export.names import LANGUAGES, checked_name, comment
from mcdev.export.refusal import refused
from mcdev.files.whole_file import whole_file
from mcdev.results.file import read
from mcdev.results.of_files import is_measured
from mcdev.results.tree import experiment_of
from mcdev.statistics.card import FORMAT, read_card


def open_source(source: Path, overrides: Mapping[str, Any]) -> tuple[Experiment, str]:
    """The experiment of a configuration, a run's or a calibration's folder, or results; in words where it is from."""
    if (source / "fitted.toml").is_file():  # the folder of a calibration
        source = source / "fitted.toml"
    if source.suffix == ".toml" and not source.is_dir():
        if read_toml(source).get("format") == FORMAT:
            message = (
                "is a model card, which has no equations; give the configuration or run it is of, and --card with it"
            )
            raise refused("RUN_OR_CONFIG", str(source), message)
        experiment = load(source, overrides)
        return experiment, f"the configuration {experiment.name} (hash {experiment.hash})"
    tree = read(source)
    if is_measured(tree):
        message = "are results of measured files, of which no parameter is known; calibrate a device to them first"
        raise refused("RUN_OR_CONFIG", str(source), message)
    experiment = experiment_of(tree)
    if overrides:
        raise refused("--set", ", ".join(overrides), "a run is as it is; export a configuration to change values")
    return (
        experiment,
        f"the run {experiment.name} of {tree.attrs.get('started', 'unknown date')} (hash {experiment.hash})",
    )


def at_point(experiment: Experiment, point: int | None) -> tuple[Experiment, str]:
    """One sweep point, counted from one, and its label. Raises ``ConfigError`` where it has to be chosen."""
    points = experiment.points()
    if point is None and len(points) > 1:
        which = "; ".join(f"{i} is {_label(values)}" for i, (values, _) in enumerate(points[:6], start=1))
        raise refused("--point", None, f"{len(points)} sweep points, and one can be exported: {which}")
    if not 1 <= (point or 1) <= len(points):
        raise refused("--point", point, f"expected 1 to {len(points)}")
    values, chosen = points[(point or 1) - 1]
    return chosen, _label(values)


def _label(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} = {shown(value)}" for path, value in values.items())


def export(
    source: str | Path,
    to: str,
    output: str | Path,
    name: str | None = None,
    point: int | None = None,
    count: int = 0,
    card: str | Path | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the model, and ``count`` instances of it if any; the files written.

    Raises ``ConfigError`` with what to write instead, ``ResultsError`` for files that cannot be read or written.
    """
    if to not in LANGUAGES:
        raise refused("--to", to, f"expected {' or '.join(LANGUAGES)}")
    if card is not None and not count:
        raise refused("--card", str(card), "devices are drawn from it; say how many with --instances 16")
    if seed is not None and card is None:
        raise refused("--seed", seed, "is of --card; a configuration has its own: --set ensemble.seed=2")
    experiment, provenance = open_source(Path(source), overrides or {})
    chosen, label = at_point(experiment, point)
    name = checked_name(name or experiment.name, "--name" if name else "name", to, words_of_pair(chosen))
    draws, drawn_from = {}, ""
    if card is not None:
        found = read_card(Path(card))
        draws = instances.from_card(found, point or 1, chosen, count, seed or 0)
        drawn_from = comment(f"drawn from the model card of {found.title}, seed {seed or 0}")[0]
    elif count:
        draws = instances.from_experiment(chosen, count)
        drawn_from = f"the first that mcdev draws, seed {chosen.ensemble.seed}"
    model = model_of(chosen, name, provenance + (f", at {label}" if label else ""))
    return [_write(Path(output) / file, text) for file, text in _files(model, to, draws, drawn_from).items()]


def _files(model: Model, to: str, draws: dict[str, Any], drawn_from: str) -> dict[str, str]:
    if to == "verilog-a":
        files = {f"{model.name}.va": verilog_a.module(model)}
        return files | ({f"{model.name}_instances.csv": instances.to_csv(model, draws)} if draws else {})
    files = {f"{model.name}.sub": spice.subcircuit(model)}
    return files | ({f"{model.name}_instances.sub": instances.to_spice(model, draws, drawn_from)} if draws else {})


def _write(path: Path, text: str) -> Path:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="ascii")
    return path
