"""The complexity table: that fits find the exponents that are there, and what is written.

No test compares two times: machines are busy. What depends on the clock is given made-up seconds.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from adapters import to_oracle
from reference import exact
from scipy import stats

import fastrbm
from fastrbm import cli
from fastrbm.benchmarks import complexity, experiments, fits, grids, machine, naive, report, timing
from fastrbm.benchmarks.series import LEAST_MACS, Series, crossovers

CHECKOUT = Path(__file__).parents[1]

#: One visible size is large enough to be fitted, in every method: a run of a second.
TINY = grids.Grid(
    n_rounds=1,
    max_seconds=30,
    log_z={"naive": (4, 8), "split": (4, 8), "pairwise": (6, 8)},
    update={"naive": (4, 8), "split": (4, 8), "pairwise": (4, 8), "cd": (4, 8, 16)},
    cd_update={"k": (1, 2, 3), "B": (50, 100), "N": (64, 128), "p": (64, 128)},
    cd_epoch={"k": (1, 2), "M": (100, 200), "N": (64, 128), "p": (16, 32)},
    cd_epochs={"k": (1, 2), "M": (100, 200), "N": (32, 64), "p": (4, 8)},
)
TINY_BASE = {
    "cd_update": {"k": 1, "B": 100, "N": 128, "p": 128},
    "cd_epoch": {"k": 1, "M": 100, "N": 64, "p": 16},
    "cd_epochs": {"k": 1, "M": 100, "N": 32, "p": 8},
}


# ----------------------------------------------------------------------------------------- fits


@pytest.mark.parametrize("true", [0.5, 1.0, 2.0])
def test_exponents_of_exact_laws(true):
    sizes = np.array([16, 32, 64, 128, 256])
    found = fits.power_law(sizes, 3e-6 * sizes**true)
    assert found.value == pytest.approx(true, abs=1e-12)
    assert found.low == pytest.approx(true, abs=1e-9)
    n = np.arange(20, 28)
    assert fits.exponential(n, 1e-9 * 2.0 ** (true * n)).value == pytest.approx(true, abs=1e-12)


def test_intervals_are_those_of_scipy():
    rng = np.random.default_rng(1)
    n = np.arange(10, 17)
    log_seconds = n + rng.normal(0, 0.2, len(n))
    line = stats.linregress(n, log_seconds)
    half = stats.t.ppf(0.975, len(n) - 2) * line.stderr
    found = fits.exponential(n, 2.0**log_seconds)
    expected = (line.slope, line.slope - half, line.slope + half)
    assert dataclasses.astuple(found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fit", [fits.power_law, fits.exponential])
def test_intervals_cover_the_truth_as_often_as_they_say(fit):
    """1,000 runs of seven noisy times each, normal in the logarithm: 95% within 4 sigma."""
    rng = np.random.default_rng(2)
    sizes = np.arange(4, 11)
    true = 1.25
    law = 2.0 ** (true * sizes) if fit is fits.exponential else sizes**true
    inside = 0
    for _ in range(1000):
        found = fit(sizes, law * np.exp(rng.normal(0, 0.1, len(sizes))))
        inside += found.low <= true <= found.high
    assert abs(inside - 950) < 4 * np.sqrt(1000 * 0.95 * 0.05)


def test_two_sizes_are_not_fitted():
    with pytest.raises(ValueError, match="at least 3 sizes, got 2"):
        fits.power_law([1, 2], [1.0, 2.0])


def test_crossing_is_found_between_sizes():
    sizes = np.array([4, 8, 16, 32])
    assert fits.crossing(sizes, sizes**3.0, 1000.0 + 0 * sizes) == pytest.approx(10)
    # A first stretch above does not count: it is overtaken again.
    assert fits.crossing(sizes, [9, 1, 4, 16], [2, 2, 2, 2]) == pytest.approx(8 * 2**0.5)
    assert fits.crossing(sizes, [3, 3, 3, 3], [2, 2, 2, 2]) is None
    assert fits.crossing(sizes, [1, 1, 1, 1], [2, 2, 2, 2]) is None
    assert fits.crossing(sizes, [3, 3, 1, 1], [2, 2, 2, 2]) is None


# ---------------------------------------------------------------------------------------- naive


@pytest.mark.parametrize("hidden", ["Bernoulli", "Spin", "Gaussian"])
@pytest.mark.parametrize("visible", ["Bernoulli", "Spin"])
def test_naive_sums_against_the_oracle(visible, hidden):
    rng = np.random.default_rng(3)
    layers = [
        getattr(fastrbm, name)(n, bias=rng.normal(0, 0.5, n))
        for name, n in ((visible, 4), (hidden, 2))
    ]
    rbm = fastrbm.RBM(*layers, weights=rng.normal(0, 0.6, (4, 2)))
    solved = exact.Exact(to_oracle(rbm))
    states = exact.all_states({"Bernoulli": (0, 1), "Spin": (-1, 1)}[visible], 4)
    logs = -rbm.free_energy(states)
    log_z = np.logaddexp.reduce(logs)
    assert naive.log_partition(rbm) == pytest.approx(log_z, abs=1e-12)
    assert solved.log_z == pytest.approx(log_z, abs=1e-9)
    found, products = naive.products(rbm)
    assert found == pytest.approx(log_z, abs=1e-12)
    expected = states.T @ (np.exp(logs - log_z)[:, None] * rbm.mean_hidden(states))
    np.testing.assert_allclose(products, expected, atol=1e-12)


def test_naive_sums_over_several_blocks():
    """13 units are two blocks; weights make the second block's maximum the larger one."""
    weights = np.zeros((13, 2))
    weights[12] = 800.0
    rbm = fastrbm.RBM(fastrbm.Bernoulli(13), fastrbm.Bernoulli(2), weights=weights)
    assert naive.log_partition(rbm) == pytest.approx(1600 + 12 * np.log(2), rel=1e-14)
    log_z, products = naive.products(rbm)
    assert log_z == pytest.approx(1600 + 12 * np.log(2), rel=1e-14)
    np.testing.assert_allclose(products[:, 0], [*(12 * [0.5]), 1.0], atol=1e-12)


# --------------------------------------------------------------------------------------- timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only tasks advance."""
    time = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: time[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    return time


def task(clock, calls, size, seconds, **options):
    def call():
        clock[0] += seconds
        calls.append(size)
        return seconds

    return timing.Task(size, float(size), call, **options)


def test_rounds_are_interleaved(clock):
    calls = []
    first, second = ([task(clock, calls, s, 1.0) for s in sizes] for sizes in ((1, 2), (10, 20)))
    assert timing.measure([first, second], n_rounds=2, max_seconds=1000) == 2
    assert calls[6:] == [1, 2, 10, 20] * 2  # after the warm-up, which calls the first one twice
    assert [t.rounds for t in first + second] == [[1.0, 1.0]] * 4


def test_short_tasks_are_repeated(clock):
    calls = []
    tasks = [task(clock, calls, 1, 1e-3)]
    timing.measure([tasks], n_rounds=3, max_seconds=10)
    assert len(calls) == 2 + 3 * 20
    assert tasks[0].seconds == pytest.approx(1e-3)


def test_sizes_that_would_take_too_long_are_left_out(clock):
    calls = []
    tasks = [task(clock, calls, size, 1.0 * size) for size in (1, 2, 4, 8, 16, 32)]
    assert timing.measure([tasks], n_rounds=4, max_seconds=50) == 4
    assert [t.size for t in tasks if t.rounds] == [1, 2, 4]
    assert max(calls) == 4  # the larger ones were never started
    assert clock[0] <= 50
    assert tasks[3].seconds is None


def test_time_that_a_group_leaves_over_goes_to_the_others(clock):
    long = [task(clock, [], size, 1.0 * size) for size in (1, 2, 4, 8)]
    short = [task(clock, [], 1, 1.0)]
    timing.measure([long, short], n_rounds=1, max_seconds=35)
    assert [t.size for t in long if t.rounds] == [1, 2, 4, 8]  # half of the time would end at 4
    assert clock[0] <= 35 + 2  # the first calls of all come on top


def test_at_least_one_round_is_made(clock):
    tasks = [task(clock, [], 1, 10.0)]
    assert timing.measure([tasks], n_rounds=5, max_seconds=1) == 1
    assert tasks[0].seconds == 10.0


def test_a_call_of_several_updates_is_predicted_by_all_of_them(clock):
    """Calls of one length, each of fewer and larger updates: none is thought to be longer."""
    calls = []
    tasks = [task(clock, calls, 2**n, 1.0, n_repeats=2 ** (9 - n)) for n in range(10)]
    timing.measure([tasks], n_rounds=2, max_seconds=40)
    assert all(t.rounds for t in tasks)


# --------------------------------------------------------------------------------------- series


def made_up(experiment, method, pair, variable, sizes, seconds, macs=1e8, expected=1):
    tasks = [
        timing.Task(n, macs, None, rounds=[t, 1.1 * t]) for n, t in zip(sizes, seconds, strict=True)
    ]
    return Series(experiment, method, pair, variable, {}, expected, tasks)


def test_small_calls_are_not_fitted_and_named():
    sizes = [10, 20, 21, 22, 23]
    seconds = [1e-3, *(1e-9 * 2.0**n for n in sizes[1:])]  # the first costs what any call costs
    tasks = [
        timing.Task(n, 16 * 2.0**n, None, rounds=[t]) for n, t in zip(sizes, seconds, strict=True)
    ]
    tasks.append(timing.Task(24, 16 * 2.0**24, None))
    series = Series("log_z", "split", "bernoulli-bernoulli", "N", {}, 1, tasks)
    assert tasks[0].macs < LEAST_MACS < tasks[1].macs
    assert series.exponent.value == pytest.approx(1.0, abs=1e-12)
    record = series.record()
    assert (record["fitted"], record["too_small"], record["not_run"]) == (
        [20, 21, 22, 23],
        [10],
        [24],
    )
    assert record["law"] == "2^(e size)"


def test_what_another_method_did_is_not_fitted_and_named():
    series = made_up("update", "pairwise", "spin-gaussian", "N", [20, 21, 22, 23], [9, 2, 4, 8])
    for task_, method in zip(series.tasks, ("split", *3 * ["pairwise"]), strict=True):
        task_.method = method
    assert series.exponent.value == pytest.approx(1.0)
    record = series.record()
    assert (record["fitted"], record["otherwise"]) == ([21, 22, 23], [20])
    assert [point["method"] for point in record["points"]] == ["split", *3 * ["pairwise"]]
    chosen = report._chosen({"series": [record]})
    assert chosen == "Updates by a cheaper method than the row's: split at N = 20 (Spin-Gaussian)."


def test_crossovers_by_round_and_beyond_the_sizes():
    sizes = [8, 16, 32]
    records = [
        made_up("update", "split", "p", "N", sizes, [1.0, 4.0, 16.0]).record(),
        made_up("update", "cd-1", "p", "N", sizes, [0.5, 0.5, 0.5]).record(),
        made_up("update", "cd-10", "p", "N", sizes, [2.0, 2.0, 2.0]).record(),
        made_up("update", "cd-100", "p", "N", sizes, [99.0, 99.0, 99.0]).record(),
        made_up("update", "cd-10", "other", "N", sizes, [2.0, 2.0, 2.0]).record(),
    ]
    found = {one["k"]: one for one in crossovers(records)}
    assert len(found) == 3
    assert found[1]["size"] is None
    assert found[1]["dearer_from"] == 8
    assert found[100]["cheaper_up_to"] == 32
    assert found[10]["size"] == pytest.approx(8 * 2**0.5)
    assert found[10]["low"] == pytest.approx(found[10]["high"]) == pytest.approx(8 * 2**0.5)


# ----------------------------------------------------------------------------------- the whole


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(grids, "BASE", TINY_BASE)
    monkeypatch.setattr(timing, "LEAST_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    monkeypatch.setattr(experiments, "CALL_SECONDS", 1e-4)
    for name in ("QUICK", "FULL"):
        monkeypatch.setattr(complexity, name, TINY)


def test_what_a_run_writes(tiny, tmp_path):
    said = []
    result, written = complexity.run(tmp_path / "new", say=said.append, n_threads=1)
    assert [Path(path).name for path in written][:2] == ["complexity.json", "complexity.md"]
    stored = json.loads((tmp_path / "new/complexity.json").read_text())
    assert stored == result
    check_schema(stored)
    page = (tmp_path / "new/complexity.md").read_text()
    for table in (report.exact_table, report.crossover_table, report.cd_table):
        assert table(stored) in page
    assert stored["machine"]["processor"] in page
    assert any("round 1 of 1" in line for line in said)


def check_schema(result):
    assert set(result) == {"format", "machine", "settings", "series", "crossovers"}
    assert result["machine"]["n_threads"] == 1
    assert set(machine.describe()) == set(result["machine"])
    names = [(s["experiment"], s["pair"], s["method"], s["variable"]) for s in result["series"]]
    assert len(set(names)) == len(names) == 2 * (2 + 5 + 4 + 4 + 4)
    for series in result["series"]:
        sizes = [point["size"] for point in series["points"]]
        assert sorted({*series["fitted"], *series["too_small"], *series["otherwise"]}) == sizes
        for point in series["points"]:
            assert point["seconds"] > 0
            assert len(point["rounds"]) == 1
            large = point["macs"] > LEAST_MACS and point["size"] not in series["otherwise"]
            assert large == (point["size"] in series["fitted"])
        assert (series["exponent"] is not None) == (len(series["fitted"]) >= 3)
    for one in result["crossovers"]:
        assert one["exact"] in ("naive", "split", "pairwise")
    assert len(result["crossovers"]) == 2 * 2 * 3


def test_picture_is_written_or_left_out(tiny, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    _, written = complexity.run(tmp_path, n_threads=1)
    picture = (tmp_path / "complexity.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 200_000  # it is kept in the repository
    assert str(tmp_path / "complexity.png") in written
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastrbm.benchmarks.picture", raising=False)
    monkeypatch.delattr("fastrbm.benchmarks.picture", raising=False)
    other = tmp_path / "other"
    _, written = complexity.run(other, n_threads=1)
    assert sorted(path.name for path in other.iterdir()) == ["complexity.json", "complexity.md"]


def test_the_command(tiny, tmp_path, capsys):
    arguments = ["bench", "complexity", "--quick", "--output", str(tmp_path), "--n-threads", "1"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    result = json.loads((tmp_path / "complexity.json").read_text())
    assert report.tables(result) in said.out
    assert str(tmp_path / "complexity.json") in said.out
    assert "complexity: exact log Z: round 1" in said.err


@pytest.mark.parametrize("experiment", ["cd_update", "cd_epoch", "cd_epochs"])
@pytest.mark.parametrize("grid", [grids.QUICK, grids.FULL], ids=["quick", "full"])
def test_every_size_of_cd_is_large_enough_to_be_fitted(experiment, grid):
    for series in experiments.cd(experiment, grid, 1):
        assert all(task.macs > LEAST_MACS for task in series.tasks)
        assert len(series.tasks) >= fits.FEWEST_SIZES
        assert series.expected == (2 if (experiment, series.variable) == ("cd_epochs", "p") else 1)


@pytest.mark.parametrize("grid", [grids.QUICK, grids.FULL], ids=["quick", "full"])
def test_every_exact_method_has_sizes_to_fit(grid):
    for series in experiments.log_z(grid, 1) + experiments.update(grid, 1):
        if not series.method.startswith("cd"):
            large = [task for task in series.tasks if task.macs > LEAST_MACS]
            assert len(large) >= fits.FEWEST_SIZES


def test_the_page_of_made_up_times():
    """Exponents, crossovers, and what was left out, from one result to its tables."""
    pair_times = {"naive": 1e-6, "split": 1e-8, "pairwise": 1e-9}
    sizes = [20, 21, 22, 23]
    series = []
    for pair, exact_method in experiments.EXACT.items():
        for experiment in ("log_z", "update"):
            for method in ("naive", exact_method):
                seconds = [pair_times[method] * 2.0**n for n in sizes]
                series.append(made_up(experiment, method, pair, "N", sizes, seconds))
        series += [made_up("update", f"cd-{k}", pair, "N", sizes, [0.02 * k] * 4) for k in (1, 10)]
        for experiment, rows in (("cd_update", "B"), ("cd_epoch", "M"), ("cd_epochs", "M")):
            for variable in ("k", rows, "N", "p"):
                power = 2 if (experiment, variable) == ("cd_epochs", "p") else 1
                seconds = [1e-3 * n**power for n in sizes]
                series.append(made_up(experiment, "cd", pair, variable, sizes, seconds))
    series[0].tasks.append(timing.Task(24, 1e12, None))
    records = [one.record() for one in series]
    result = {
        "format": complexity.FORMAT,
        "machine": {"processor": "a made-up one", "torch": None},
        "settings": {"n_hidden": 32, "batch_size": 100, "least_macs": LEAST_MACS,
                     "confidence": 0.95, "n_rounds": {"log_z": 2}},
        "series": records,
        "crossovers": crossovers(records),
    }  # fmt: skip
    page = report.page(result)
    assert "| naive sum in NumPy, Bernoulli-Bernoulli | 1.00 [1.00, 1.00] | 20-23 |" in page
    assert "| p epochs, Spin-Gaussian | k M N p^2 | 1.00 [1.00, 1.00] |" in page
    (last,) = [line for line in page.splitlines() if line.startswith("| p epochs, Spin-Gaussian")]
    assert last.endswith("| 2.00 [2.00, 2.00] |")
    assert "| split product, Bernoulli-Bernoulli | 20.9 (20.9-20.9) | > 23 |" in page
    assert "| naive sum in NumPy, Bernoulli-Bernoulli | < 20 | < 20 |" in page
    assert (
        "Not run for want of time: exact log Z, naive sum in NumPy, Bernoulli-Bernoulli: N = 24."
        in page
    )
    assert "a made-up one" in page
    assert "None" not in page


def test_readme_shows_the_tables_of_the_run_that_is_kept():
    """bench/readme_table.py puts them there."""
    result = json.loads((CHECKOUT / "docs/complexity.json").read_text())
    readme = (CHECKOUT / "README.md").read_text()
    assert report.tables(result) in readme
    assert report.page(result) == (CHECKOUT / "docs/complexity.md").read_text()
    assert "docs/complexity.png" in readme
    assert (CHECKOUT / "docs/complexity.png").read_bytes().startswith(b"\x89PNG")
