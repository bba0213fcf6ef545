"""Reports: what they hold, that nothing in a file runs or overflows them, and that a browser shows them."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import Ended, reduced
from test_calibration_file import made as calibration
from test_figures_gallery import results

import mcdev
from mcdev.calibration import file as calibration_file
from mcdev.files.whole_file import ResultsError
from mcdev.reports.contents import Cell, sortable
from mcdev.reports.labels import plain
from mcdev.reports.report import LARGEST, Report
from mcdev.reports.thinning import evenly, thinned

EVIL = "<img src=x onerror=alert(1)></script>$&"
PULSE = {"kind": "pulse", "amplitude": "2 V", "width": "0.2 s", "relaxation": "0.3 s"}


@pytest.fixture(scope="module")
def swept() -> xr.DataTree:
    """Three points, sixteen devices, of which eight are kept whole."""
    measurements = {"tau_r": {"kind": "relaxation_time"}, "tau_d": {"kind": "delay_time"}}
    axis = {"sweep.axes": {"protocol.amplitude": ["3 V", "4 V", "5 V"]}}
    spread = {"distribution": "lognormal", "median": "1 V", "sigma": 0.1}
    experiment = reduced(PULSE, measurements, {"devices": 16}, particles=6, friction=1.0, threshold_voltage=spread)
    return mcdev.run(experiment.with_(axis), report=False, threads=1)


@pytest.fixture(scope="module")
def made(swept: xr.DataTree) -> Report:
    return mcdev.report(swept)


def data(report: Report) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.text, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def unpacked(packed: dict[str, str]) -> np.ndarray:
    ((letter, text),) = packed.items()
    return np.frombuffer(base64.b64decode(text), {"f": "<f4", "d": "<f8"}[letter])


def panel(report: Report, title: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in data(report)["panels"] if each["title"] == title)
    return found


def test_a_mean_course_is_that_of_the_tree(swept: xr.DataTree, made: Report) -> None:
    """Each number is a step from the beginning of its sample to its end."""
    drawn = panel(made, "conductance")
    means = [curve for curve in drawn["curves"] if curve["look"] == "line"]
    assert [curve["of"] for curve in means] == [{"point": 0}, {"point": 1}, {"point": 2}]
    response = swept["response"].dataset
    there = response["conductance"].values[1, 0]
    x, y = unpacked(means[1]["x"]), unpacked(means[1]["y"])
    assert (drawn["x"][-4:], drawn["y"][-4:]) == ("(ms)", "(mS)")
    np.testing.assert_allclose(y, 1e3 * np.repeat(there, 2), rtol=1e-6)
    np.testing.assert_allclose(5e-4 * (x[::2] + x[1::2]), response["time"].values[1], rtol=1e-9)
    singles = [curve for curve in drawn["curves"] if curve["look"] == "thin"]
    assert {curve["of"]["device"] for curve in singles} == set(range(8))


def test_every_value_is_in_the_distributions(swept: xr.DataTree, made: Report) -> None:
    """And what the axis of the sweep shows is the median of each point."""
    drawn = panel(made, "tau_d against amplitude")
    line = next(curve for curve in drawn["curves"] if curve["look"] == "dotted line")
    records = [r for r in mcdev.summarise(swept) if r["measurement"] == "tau_d"]
    np.testing.assert_allclose(unpacked(line["x"]), [3.0, 4.0, 5.0])
    medians = [r["median"] for r in records]
    assert all(value is not None for value in medians)
    np.testing.assert_allclose(unpacked(line["y"]) / unpacked(line["y"])[0], np.array(medians) / medians[0], rtol=1e-5)
    spread = panel(made, "distribution of tau_d")
    assert max(unpacked(c["y"]).max() for c in spread["curves"] if c["look"] != "band") == pytest.approx(1.0)


def test_the_choices_are_those_of_the_run(made: Report) -> None:
    choices = {choice["name"]: choice for choice in data(made)["choices"]}
    assert choices["point"]["options"] == ["3", "4", "5"]
    assert choices["device"]["options"] == [str(i + 1) for i in range(8)]
    assert choices["measurement"]["options"] == ["tau_r", "tau_d"]


def test_statistics_configuration_and_provenance_are_there(swept: xr.DataTree, made: Report) -> None:
    text = made.text
    for words in ("Statistics", "Configuration", "Provenance", "config_hash", str(swept.attrs["config_hash"])):
        assert words in text
    mean = next(r["mean"] for r in mcdev.summarise(swept) if r["measurement"] == "tau_d")
    assert f'data-value="{mean:.9g}"' in text
    assert html.escape('amplitude = "2 V"', quote=False) in html.unescape(text)


@pytest.mark.parametrize("points", [1, 4])
def test_censored_values_and_lists(points: int) -> None:
    report = mcdev.report(results(points, censored=True))
    spread = panel(report, "distribution of tau_r")
    censored = [c["name"] for c in spread["curves"]]
    assert any("right-censored" in name for name in censored)
    assert max(unpacked(c["y"]).max() for c in spread["curves"] if c["look"] != "band") < 1.0
    assert panel(report, "distribution of g[2]")["x"].endswith("entry 2")


@pytest.mark.slow
def test_a_large_run_is_thinned_to_the_size_of_a_report() -> None:
    """Twelve points of 3000 devices: thinned, and the peaks stay."""
    tree = results(12, censored=False, devices=3000, cycles=3)
    assert len(mcdev.report(tree).text.encode()) < LARGEST


def test_thinned_keeps_ends_peaks_and_gaps() -> None:
    y = np.zeros(10_000)
    y[3217], y[7001] = 5.0, -2.0
    which = thinned(y, 100)
    assert which.size <= 100
    assert {0, 3217, 7001, 9999} <= set(which.tolist())
    y[4000:6000] = np.nan
    kept = thinned(y, 100)
    assert np.isnan(y[kept]).any()
    assert thinned(y[:50], 100).tolist() == list(range(50))
    assert evenly(100, 3) == [0, 50, 99]


@pytest.mark.parametrize(
    ("label", "words"),
    [(r"$\tau_\mathrm{d}$ (ms)", "τ_d (ms)"), ("time $t$ (s)", "time t (s)"), (r"$\lambda$", "λ"), ("plain", "plain")],
)
def test_labels_are_plain_text(label: str, words: str) -> None:
    assert plain(label) == words


def test_cells_are_escaped_and_sorted_by_their_numbers() -> None:
    text = sortable(["name", "<b>"], [[EVIL, Cell("1 ms", 1e-3)], ["b", Cell("–", float("nan"))]])
    assert "<img" not in text
    assert "<b>" not in text
    assert 'data-value="0.001"' in text
    assert 'data-value=""' in text


def spoiled(tree: xr.DataTree) -> xr.DataTree:
    """With markup in every text that somebody else's file may hold."""
    groups = {group.path: group.to_dataset(inherit=False).copy(deep=True) for group in tree.subtree}
    names = "\n".join(f"{EVIL}{i}" for i in range(tree["realisations"].sizes["device"]))
    groups["/"] = groups["/"].assign_attrs(
        title=EVIL, description=EVIL, measured_devices=names, warnings=EVIL, notes=EVIL
    )
    for name in tree["measurements"].children:
        data = groups[f"/measurements/{name}"]
        data["value"].attrs["criterion"] = EVIL
    return xr.DataTree.from_dict(groups)


def test_no_text_of_a_file_is_run(swept: xr.DataTree) -> None:
    text = mcdev.report(spoiled(swept)).text
    assert "<img" not in text.replace("<img src=x>", "") or EVIL not in text
    assert EVIL not in text
    assert "onerror=alert(1)>" not in text
    assert text.count("</script>") == 3


def test_the_page_allows_its_own_scripts_and_no_request(made: Report) -> None:
    text = made.text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "script-src 'sha256-" in policy[1]
    assert "unsafe-inline'; img" in policy[1]  # of styles alone
    assert not re.search(r'<(script|img|iframe)[^>]* src=|<link[^>]* href="(?!data:,)', text)


def test_a_notebook_shows_it_in_a_frame_of_its_own(made: Report) -> None:
    shown = made._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert html.unescape(shown.partition('srcdoc="')[2].removesuffix('"></iframe>')) == made.text


def test_what_are_no_results_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no results; give the folder of a run, a study or a calibration"):
        mcdev.report(tmp_path)
    wrong: Any = 3
    with pytest.raises(mcdev.ConfigError, match="expected the results of a run or a calibration, or their folder"):
        mcdev.report(wrong)


def test_the_command_writes_it_into_the_folder(
    swept: xr.DataTree, made: Report, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    mcdev.write(swept, tmp_path / "run")
    ended = mcdev_main("report", tmp_path / "run")
    assert ended.code == 0
    assert "report.html" in ended.out
    written = Report("", (tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert data(written) == data(made)
    ended = mcdev_main("report", tmp_path / "run", "--out", tmp_path / "other.html", "--quiet")
    assert ended.out.strip() == str(tmp_path / "other.html")
    assert mcdev_main("report", tmp_path / "nothing").code == 3
    from mcdev.results.folders import not_ours

    assert list(not_ours(tmp_path / "run")) == []


def test_a_calibration(tmp_path: Path) -> None:
    calibration_file.write(xr.DataTree.from_dict(calibration()), tmp_path)
    report = mcdev.report(tmp_path)
    titles = [each["title"] for each in data(report)["panels"]]
    assert {"pulls", "parameters", "correlation of the parameters", "search"} <= set(titles)
    assert any(title.startswith("profile: ") for title in titles)
    assert any(title.startswith("curve: ") for title in titles)
    assert "all met" in report.text


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder as a study leaves it, of two variants of one run."""
    tree = results(2, censored=False, devices=4, cycles=1)
    for variant in ("one", "other"):
        mcdev.write(tree, tmp_path / variant / "pulse")
    rows = "run,quantity,published,value\npulse,tau_d,2 s,2.5\npulse,tau_r,10,9.5\n"
    (tmp_path / "table.csv").write_text(rows, encoding="utf-8")
    return tmp_path


def test_a_study_shows_one_run_at_a_time(study: Path) -> None:
    report = mcdev.report(study)
    choices = data(report)["choices"]
    assert choices[0]["options"] == ["one: pulse", "other: pulse"]
    assert {choice["name"] for choice in choices[1:]} >= {"point 0", "point 1"}
    for each in data(report)["panels"]:
        assert each["of"]["run"] in (0, 1)
        assert all(set(curve["of"]) >= {"run"} for curve in each.get("curves", []))
    assert 'data-value="9.5"' in report.text


# -------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; what it logs and asks the network for is kept."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1400,1000",
        "--disable-dev-shm-usage",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def opened(browser: Any, file: Path) -> None:
    """Open a report, and see that it is drawn without an error and without a request."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(file.as_uri())
    assert browser.execute_script("return document.body.dataset.drawn") == "1"
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def lines(browser: Any, title: str) -> list[str]:
    """Names of the curves that a panel shows."""
    script = """
      const panels = [...document.querySelectorAll(".panel")];
      const box = panels.find((each) => each.querySelector("h2").textContent === arguments[0]);
      return [...box.querySelector(".plot").data].map((trace) => trace.name)"""
    found: list[str] = browser.execute_script(script, title)
    return found


def select(browser: Any, name: str, option: int) -> None:
    script = f"const s = document.querySelector('select[name={name}]'); s.value = {option};"
    browser.execute_script(f"{script} s.dispatchEvent(new Event('change'))")


def choose(browser: Any, name: str, option: int) -> None:
    browser.execute_script(f"""document.querySelectorAll("input[name='{name}']")[{option}].click()""")


@pytest.mark.browser
@pytest.mark.parametrize("devices", [1, 2])
def test_a_browser_shows_a_run_of_one_point(devices: int, browser: Any, tmp_path: Path) -> None:
    """Of which nothing is chosen: it has no sweep, and perhaps one device and one measurement."""
    experiment = reduced({"kind": "hold", "duration": "0.2 s", "samples": 16}, ensemble={"devices": devices})
    mcdev.report(mcdev.run(experiment, report=False), tmp_path / "report.html")
    opened(browser, tmp_path / "report.html")
    assert lines(browser, "conductance")


@pytest.mark.browser
def test_a_browser_shows_what_is_chosen(swept: xr.DataTree, browser: Any, tmp_path: Path) -> None:
    mcdev.report(spoiled(swept), tmp_path / "report.html")
    opened(browser, tmp_path / "report.html")
    assert browser.title == EVIL
    assert browser.execute_script("return document.querySelectorAll('img, a[href]').length") == 0
    before = lines(browser, "conductance")
    assert [name for name in before if name.endswith("mean")] == ["3 mean", "4 mean", "5 mean"]
    paths = "return document.querySelectorAll('.panel:nth-of-type(2) path.js-line').length"
    drawn = browser.execute_script(paths)
    choose(browser, "point", 0)
    after = lines(browser, "conductance")
    assert [name for name in after if name.endswith("mean")] == ["4 mean", "5 mean"]
    assert browser.execute_script(paths) < drawn
    choose(browser, "device", 5)
    assert len(lines(browser, "conductance")) == len(after) + 2
    shown = "return [...document.querySelectorAll('.panel:not([hidden]) h2')].map((each) => each.textContent)"
    assert "distribution of tau_r" in browser.execute_script(shown)
    select(browser, "measurement", 1)
    assert "distribution of tau_r" not in browser.execute_script(shown)
    assert "distribution of tau_d" in browser.execute_script(shown)
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_a_browser_sorts_a_table_by_its_numbers(made: Report, browser: Any, tmp_path: Path) -> None:
    made.save(tmp_path / "report.html")
    opened(browser, tmp_path / "report.html")
    column = """
      const table = document.querySelector("table.sortable");
      const place = [...table.querySelectorAll("th")].findIndex((each) => each.textContent === "mean");
      if (arguments[0]) table.querySelectorAll("th button")[place].click();
      return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value)"""
    first, rising, falling = (browser.execute_script(column, click) for click in (False, True, True))
    known, unknown = [text for text in first if text], [text for text in first if not text]
    assert rising == sorted(known, key=float) + unknown
    assert falling == sorted(known, key=float, reverse=True) + unknown
    assert unknown
    assert len({tuple(first), tuple(rising), tuple(falling)}) == 3


@pytest.mark.browser
def test_a_browser_shows_studies_and_calibrations(study: Path, browser: Any, tmp_path: Path) -> None:
    mcdev.report(study, tmp_path / "study.html")
    opened(browser, tmp_path / "study.html")
    visible = "return [...document.querySelectorAll('.panel')].map((each) => !each.hidden)"
    before = browser.execute_script(visible)
    select(browser, "run", 1)
    after = browser.execute_script(visible)
    assert any(before)
    assert not any(a and b for a, b in zip(before, after, strict=True))
    assert sum(before) == sum(after)
    calibration_file.write(xr.DataTree.from_dict(calibration()), tmp_path / "calibration")
    mcdev.report(tmp_path / "calibration", tmp_path / "calibration.html")
    opened(browser, tmp_path / "calibration.html")
    assert lines(browser, "pulls")
