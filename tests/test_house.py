"""The house's own rules: what is promised in the README, on the pages of docs/ and in pyproject.toml holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from pydantic import BaseModel

import mcdev
from mcdev.calibration import load_job, resolve
from mcdev.circuits import CIRCUITS
from mcdev.configuration.describes import describes
from mcdev.devices import DEVICES
from mcdev.fits import FITS
from mcdev.kinds import name_of
from mcdev.measured.instruments import INSTRUMENTS
from mcdev.measurements import MEASUREMENTS
from mcdev.protocols import PROTOCOLS
from mcdev.study import load_study

pytestmark = pytest.mark.promise

HOUSE = Path(__file__).parents[1]
PAGES = {
    path.relative_to(HOUSE).as_posix(): path.read_text(encoding="utf-8")
    for path in [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").rglob("*.md"))]
    if path.parent.name != "reference"
}
"""Those that somebody wrote: docs/reference/ is made from the kinds and names them all."""
SOURCES = sorted((HOUSE / "mcdev").rglob("*.py"))


def test_the_first_python_session_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there, from a folder that holds the configurations."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGES["docs/python.md"], re.DOTALL | re.MULTILINE)
    assert blocks
    assert len(blocks[0].strip().splitlines()) <= 16
    (tmp_path / "configs").symlink_to(HOUSE / "configs")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0], "docs/python.md", "exec"), {})
    assert capsys.readouterr().out
    assert list(tmp_path.rglob("*.png")), "it plots"


def written_configurations() -> list[Any]:
    """The TOML on the pages that is a whole configuration or calibration."""
    found = []
    for page, text in PAGES.items():
        for block in re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            data = tomllib.loads(block)
            own = str(data.get("device", {}).get("preset", "")).endswith(".toml") or "file" in data.get("protocol", {})
            if {"name", "device"} <= data.keys() and {"protocol", "parameters"} & data.keys() and not own:
                found.append(pytest.param(data, id=f"{page}: {data['name']}"))
    return found


def test_the_pages_have_configurations() -> None:
    of = [str(each.id).split(":")[0] for each in written_configurations()]
    assert {"README.md", "docs/tour.md", "docs/variability.md", "docs/calibration.md"} <= set(of)


@pytest.mark.parametrize("data", written_configurations())
def test_the_configurations_of_the_pages_are_valid(data: dict[str, Any], tmp_path: Path) -> None:
    if data["device"].get("kind") == "leaky":  # a plugin's, which `test_pages.py` runs
        data["device"] = {"preset": "wang2017_sioxny_ag"}
    if "parameters" in data:
        (tmp_path / "scope.csv").write_text("\n".join(f"{0.1 * i},3.5,1e-6" for i in range(6)))
        plan = resolve(data, tmp_path)
        assert plan.goals if plan.job.simulations is not None else plan.traces  # simulations know no curves
        return
    assert mcdev.build(data).points()


def test_every_file_is_written_whole() -> None:
    """Under another name and renamed (``results.whole_file``); else only into what is thrown away."""
    written = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            modes = [a.value for a in [*node.args, *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
            opened = name == "open" and any(isinstance(m, str) and re.fullmatch("[wax]b?\\+?", m) for m in modes)
            if name in ("write_text", "write_bytes", "savefig", "to_netcdf") or opened:
                of = node.func.value if isinstance(node.func, ast.Attribute) else node.args[0]
                to = node.args[0] if name in ("savefig", "to_netcdf") else of
                written[f"{path.name}: {ast.unparse(to)}"] = name
    whole = {place for place in written if place.endswith(": temporary")}
    assert len(whole) >= 8
    assert set(written) - whole == {"ngspice.py: folder / 'netlist.cir'", "terminal.py: os.devnull"}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_name_files_that_exist(page: str) -> None:
    named = set(re.findall(r"configs/[\w/]+\.toml", PAGES[page]))
    assert named or page != "README.md"
    assert [name for name in named if not (HOUSE / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_a_page_exist(page: str) -> None:
    """Sphinx checks those among the pages of docs/; these are also read as files."""
    named = [name for name in re.findall(r"\]\(([^)#\s]+)\)", PAGES[page]) if "://" not in name]
    there = [name for name in named if not name.startswith(("reference/", "../reference/"))]  # made by the site
    assert [name for name in there if not ((HOUSE / page).parent / name).exists()] == []


@pytest.mark.parametrize("file", sorted((HOUSE / "configs").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid_and_named_after_its_file(file: Path) -> None:
    what = describes(file)
    if what == "study":
        assert load_study(file).study.name == file.stem
        return
    if what == "calibration":
        assert load_job(file).job.name == file.stem
        return
    experiment = mcdev.load(file)
    assert experiment.name == file.stem
    assert mcdev.build(tomllib.loads(experiment.to_toml())) == experiment


def test_the_papers_are_covered() -> None:
    shipped = {path.stem for path in (HOUSE / "configs" / "wang2017").glob("*.toml")}
    assert shipped >= {
        *{"fig1b_sweep", "fig3_physical_pulse", "fig4a_pulse", "fig4a_arrhenius", "fig4b_train", "fig5b_interval"},
        *{"fig5c_rate_change", "figS7c_low_rate", "fig6b_srdp", "fig6d_stdp"},
    }
    organic = {path.stem for path in (HOUSE / "configs" / "shin2022").glob("*.toml")}
    assert organic >= {
        *{"fig2_impedance", "fig3_sweep", "fig4_turn_on", "fig4_relaxation", "fig5_paired_pulse", "fig5_interval"},
        *{"fig6_four_plus_one", "figS5_magnitude", "figS6_duration", "table1", "fig7_stdp"},
    }


def test_importing_changes_nothing_and_is_light() -> None:
    """No 64-bit switch is thrown, no picture library comes along, nothing is printed and no backend is started."""
    code = (
        "import sys, jax\n"
        "before = dict(jax.config.values)\n"
        "import mcdev\n"
        "assert {name: jax.config.values[name] for name in before} == before\n"
        "assert not jax.config.jax_enable_x64\n"
        "assert 'matplotlib' not in sys.modules, 'matplotlib'\n"
        "assert not jax._src.xla_bridge._backends, 'a backend was started'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


LOOKING = [["--help"], ["run", "--help"], ["presets"], ["--version"], ["list", "."], ["show", "run"], ["new", "--help"]]
LOOKING += [["diff", "run", "run"], ["remove", "--yes", "run"]]


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_what_computes_nothing_answers_at_once(words: list[str], tmp_path: Path) -> None:
    """None of what takes long to import is imported."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "config.toml").write_text('name = "mine"')
    assert slow_imports(words, tmp_path) == "[]"


def test_a_configuration_is_checked_without_the_libraries_of_results_and_calibrations(tmp_path: Path) -> None:
    """Of what takes long, pint and JAX alone: a device's laws say how many steps it needs."""
    file = HOUSE / "configs" / "wang2017" / "fig4b_train.toml"
    assert slow_imports(["validate", str(file)], tmp_path) == "['pint', 'jax', 'equinox']"


def test_statistics_that_few_pictures_need_are_not_loaded_for_all() -> None:
    """Where nothing is censored, a run and its pictures do without scipy.stats, a quarter second of imports."""
    code = "import sys, mcdev.simulation.ensemble, mcdev.figures.pictures, mcdev.interface.computing\n"
    code += "assert 'scipy.stats' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def slow_imports(words: list[str], folder: Path) -> str:
    """Which of the libraries that take long to import a command has imported."""
    slow = ("pint", "jax", "equinox", "optax", "xarray", "h5py", "scipy.special", "scipy.stats", "scipy.optimize")
    slow += ("matplotlib",)
    code = (
        "import contextlib, sys\n"
        f"sys.argv = ['mcdev', *{words!r}]\n"
        "from mcdev.__main__ import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main()\n"
        f"print([name for name in {slow!r} if name in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", mcdev.__all__)
def test_public_names_are_documented(name: str) -> None:
    public = getattr(mcdev, name)
    assert (public.__doc__ or "").strip()
    assert public.__module__.startswith("mcdev")


def test_public_names_are_in_order() -> None:
    assert mcdev.__all__ == sorted(mcdev.__all__)


KINDS = [
    pytest.param(table, id=name_of(table))
    for section in (DEVICES, CIRCUITS, PROTOCOLS, MEASUREMENTS, FITS, INSTRUMENTS)
    for table in section
]


def test_there_are_kinds_of_everything() -> None:
    assert len(KINDS) >= 1 + 2 + 6 + 12 + 1


@pytest.mark.parametrize("table", KINDS)
def test_every_kind_is_documented(table: type[BaseModel]) -> None:
    """On a page, in its class, and it is named as its file is."""
    kind = name_of(table)
    assert any(re.search(rf"\b{kind}\b", text) for text in PAGES.values())
    assert (table.__doc__ or "").strip()
    assert table.__module__.rpartition(".")[2] == kind


def test_the_version_that_computes_wrongly_is_excluded() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    required = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    for name in ("jax", "jaxlib"):
        assert "0.10.2" not in required[name]
        assert "0.10.1" in required[name]
        assert "0.10.3" in required[name]
    assert all(specifier for specifier in required.values()), "every dependency has a lower bound"


def test_no_file_grows_too_long() -> None:
    assert {f.name: n for f in SOURCES if (n := len(f.read_text().splitlines())) > 700} == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert {f.stem for f in SOURCES} & {"utils", "helpers", "common", "misc", "base", "manager"} == set()


def test_no_checker_is_told_to_look_away() -> None:
    asking = re.compile("#" + r"\s*(noqa|type:\s*ignore)|mark" + r"\.(skip|xfail)")
    files = [*SOURCES, *(HOUSE / "tests").glob("*.py")]
    assert [f"{f.name}: {line}" for f in files for line in f.read_text().splitlines() if asking.search(line)] == []


def test_nothing_is_skipped_but_for_a_missing_program() -> None:
    """Two lines skip: tests marked ``ngspice`` and ``browser``, where there is none. `.ci/run` installs both, and fails
    if one was."""
    skipping = re.compile(r"pytest" + r"\.skip|import" + r"orskip|skip" + r"if|skip" + r"Test|collect_" + r"ignore")
    files = sorted((HOUSE / "tests").glob("*.py"))
    found = [f"{f.name}: {line.strip()}" for f in files for line in f.read_text().splitlines() if skipping.search(line)]
    missing = ("ngspice is not installed: apt-get install ngspice",)
    missing += ("chromium or its driver is not installed: apt-get install chromium chromium-driver",)
    assert found == [f'conftest.py: pytest.{"skip"}("{words}")' for words in missing]
    assert "^SKIPPED" in (HOUSE / ".ci" / "run").read_text()


def test_every_module_is_documented() -> None:
    assert [str(f) for f in SOURCES if not ast.get_docstring(ast.parse(f.read_text()))] == []


def test_the_map_names_what_is_there() -> None:
    """Each folder and file of the package's root, with the sentence that the folder says of itself or none other."""
    page = (HOUSE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = page.split("## Where things are")[1].split("## Words")[0]
    named = set(re.findall(r"`([a-z_]+(?:/|\.py))`", places)) - {"mcdev/"}
    root = HOUSE / "mcdev"
    there = {f"{path.name}/" for path in root.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in root.glob("*.py") if not path.name.startswith("__")}
    assert named == there
    layers = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    listed = {name.strip().removeprefix("mcdev.") for layer in layers for name in layer.split("|")} - {"__main__"}
    assert listed == {name.removesuffix("/").removesuffix(".py") for name in there}


CONTRACTS = {"applies", "draw"}  # the functions of a picture; mcdev/figures/__init__.py documents them once


def test_every_public_function_is_documented() -> None:
    bare = [
        f"{file.relative_to(HOUSE)}: {node.name}"
        for file in SOURCES
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node)
        if node.name not in CONTRACTS
    ]
    assert bare == []
