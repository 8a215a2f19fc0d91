"""The comparison with peers: that they learn and sample rightly, and how ratios are judged.

Peers that are not installed are skipped; NumPy's is always there.
"""

import json
import pathlib

import numpy as np
import pytest
from compare import asked, contest, inside, measure, quality, results, rounds, task
from compare.data import Data

import fastrbm

CHECKOUT = pathlib.Path(__file__).parents[1]
PATTERNS = fastrbm.datasets.bars_and_stripes(3)
PEERS = list(contest.PEERS)


def module_of(name):
    """The module of a peer; the test is skipped where its library is missing."""
    try:
        return contest.PEERS[name].load()
    except ImportError as error:
        pytest.skip(f"{name} is not installed: {error}")


def rows_of(pair, n_rows=208):
    """Bars and stripes in random order; 208 leaves a short last batch."""
    rng = np.random.default_rng(0)
    rows = PATTERNS[rng.integers(len(PATTERNS), size=n_rows)]
    return (2 * rows - 1 if pair == "sg" else rows).astype(np.float32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "k"), [("cd", 1), ("cd", 3), ("pcd", 1)])
@pytest.mark.parametrize("pair", task.PAIRS)
@pytest.mark.parametrize("name", PEERS)
def test_peers_learn(name, pair, method, k):
    """Training raises the exact pseudo-likelihood far above that of independent units."""
    # Persistent chains of the Spin-Gaussian model mix slowly: they need small steps.
    rate = 0.1 if pair == "bb" else {"cd": 0.02, "pcd": 0.005}[method]
    work = task.Task(method, k, 9, 6, 7, pair, "half", learning_rate=rate)
    if not contest.PEERS[name].plays(work):
        pytest.skip(f"{name} has no {work.name}")
    module, rows = module_of(name), rows_of(pair)
    n_epochs = 300 if contest.PEERS[name].as_is else 60
    with module.threads(1):
        trainer = module.Trainer(work, rows, 1)
        if hasattr(trainer, "epochs"):
            trainer.epochs(n_epochs)
        else:
            for _ in range(n_epochs):
                trainer.epoch()
    independent = -9 * np.log(2)
    assert fastrbm.pseudo_likelihood(trainer.model(), rows) > independent + 1.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pair", task.PAIRS)
@pytest.mark.parametrize("name", PEERS)
def test_peers_sample(name, pair):
    """Means and products of the visible units are those of the enumerated states."""
    work = task.Task("gibbs", 1, 5, 3, 4000, pair, "half")
    if not contest.PEERS[name].plays(work):
        pytest.skip(f"{name} has no {work.name}")
    module = module_of(name)
    rng = np.random.default_rng(3)
    layers = {"bb": (fastrbm.Bernoulli,) * 2, "sg": (fastrbm.Spin, fastrbm.Gaussian)}[pair]
    rbm = fastrbm.RBM(
        layers[0](5, bias=rng.normal(0, 0.5, 5)),
        layers[1](3, bias=rng.normal(0, 0.5, 3)),
        weights=rng.normal(0, {"bb": 1.0, "sg": 0.3}[pair], (5, 3)),
        dtype="float32",
    )
    states = (np.arange(32)[:, None] >> np.arange(5)) & 1
    states = 2.0 * states - 1 if pair == "sg" else states.astype(np.float64)
    weights = np.exp(rbm.free_energy(states).min() - rbm.free_energy(states))
    weights /= weights.sum()
    draws = []
    with module.threads(1):
        sampler = module.Sampler(rbm, work.size, 5)
        sampler.sweeps(50)
        for _ in range(10):
            sampler.sweeps(5)
            draws.append(np.array(sampler.visible(), np.float64))
    drawn = np.concatenate(draws)
    # 40,000 draws, nearly independent: a standard error of at most 0.005 for values of -1 and 1.
    assert np.abs(drawn.mean(axis=0) - weights @ states).max() < 0.03
    products = states.T @ (weights[:, None] * states)
    assert np.abs(drawn.T @ drawn / len(drawn) - products).max() < 0.03


def test_a_peer_that_does_not_update_is_seen():
    """The bound of `test_peers_learn` can fail: the model that training starts from misses it."""
    module, rows = module_of("NumPy"), rows_of("bb")
    work = task.Task("cd", 1, 9, 6, 7, "bb", "half")
    start = module.Trainer(work, rows, 1).model()
    assert fastrbm.pseudo_likelihood(start, rows) < -9 * np.log(2) + 0.1


def test_momentum_and_decay_are_fastrbms():
    """Two updates of the NumPy peer from one row, with noise that decides nothing, by hand."""
    module = module_of("NumPy")
    work = task.Task("cd", 1, 3, 2, 1, "bb", "half", learning_rate=0.1)
    rows = np.array([[1, 0, 1]], np.float32)
    trainer = module.Trainer(work, rows, 0)
    big = np.float32(60)
    trainer.visible.bias[:] = -big  # the chain's visible units are all 0
    trainer.hidden.bias[:] = 0
    expected = trainer.weights.astype(np.float64)
    velocity = np.zeros_like(expected)
    hidden_bias, hidden_velocity = np.zeros(2), np.zeros(2)
    for _ in range(2):
        mean = 1 / (1 + np.exp(-(rows[0] @ expected + hidden_bias)))
        model = 1 / (1 + np.exp(-hidden_bias))
        velocity = 0.5 * velocity + np.outer(rows[0], mean) - 1e-4 * expected
        hidden_velocity = 0.5 * hidden_velocity + mean - model
        expected = expected + 0.1 * velocity
        hidden_bias = hidden_bias + 0.1 * hidden_velocity
        trainer.epoch()
    assert np.allclose(trainer.weights, expected, atol=1e-6)
    assert np.allclose(trainer.hidden.bias, hidden_bias, atol=1e-6)


def test_flops_of_tasks():
    assert task.Task("cd", 1, 784, 500, 100).unit_flops == 10 * 784 * 500
    assert task.Task("cd", 10, 20, 10, 10).unit_flops == 46 * 200
    assert task.Task("gibbs", 1, 20, 10, 7).unit_flops == 4 * 200 * 7
    assert task.Task("gibbs", 1, 20, 10, 7).unit_updates == 210


def test_names_are_unique_and_chosen_by_parts():
    names = [work.name for work in task.grid()]
    assert len(set(names)) == len(names)
    assert task.chosen(names, ["cd1/784x500/b10"]) == [
        f"cd1/784x500/b10/{pair}/{density}" for pair in ("bb", "sg") for density in task.DENSITIES
    ]
    assert task.chosen(names, ["cd1/20x10/*/half"]) == [
        "cd1/20x10/b10/bb/half",
        "cd1/20x10/b10/sg/half",
    ]
    with pytest.raises(ValueError, match="no row is named"):
        task.chosen(names, ["cd2"])


@pytest.mark.parametrize(("density", "share"), task.DENSITIES.items())
def test_data_has_its_density_and_its_values(density, share):
    data = Data(n_rows=500)
    for pair, low in (("bb", 0), ("sg", -1)):
        work = task.Task("cd", 1, 40, 3, 10, pair, density)
        train, test = data.train(work), data.test(work)
        assert train.shape == (500, 40)
        assert test.shape == (10_000, 40)
        assert set(np.unique(train)) == {low, 1}
        assert abs((test == 1).mean() - share) < 0.01
        assert np.array_equal(data.train(work, np.float32), train)


def test_race_takes_turns_and_finds_the_size_of_a_piece():
    calls = []

    def runner(name):
        return lambda n: calls.append((name, n))

    entries = [rounds.Contestant(name, runner(name), grain=5, most=20) for name in "ab"]
    for entry in entries:
        entry.warm_up = lambda target, entry=entry: setattr(entry, "n", 25)
    times = rounds.race(entries, 2, 0.1)
    assert calls == [
        ("a", 20),
        ("a", 5),
        ("b", 20),
        ("b", 5),
        ("b", 20),
        ("b", 5),
        ("a", 20),
        ("a", 5),
    ]
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert rounds.ratio([4, 6, 9], [2, 2, 3]) == (3, 2, 3)


def test_the_faster_number_of_threads_is_kept(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: clock[0])
    current = []

    class Threads:
        def __init__(self, n):
            self.n = n

        def __enter__(self):
            current.append(self.n)

        def __exit__(self, *_):
            current.pop()

    def run(n):
        clock[0] += n * (0.002 if current[-1] == 1 else 0.005)

    entry = rounds.Contestant("x", run, grain=10, most=1000, threads=Threads, choices=(2, 1))
    entry.warm_up(0.5)
    assert entry.n_threads == 1
    assert entry.n == 250
    entry.warm_up(3.1)  # more than a data set: whole ones
    assert entry.n == 2000


def entry(*values):
    return {"values": list(values)}


def test_quality_needs_more_than_two_standard_errors_to_fail():
    ours, theirs = entry(-10.0, -10.2, -9.8), entry(-9.9, -10.1, -9.7)
    judged = quality.verdict(ours, theirs)
    assert judged["difference"] == pytest.approx(-0.1)
    assert judged["error"] == pytest.approx(np.sqrt(2 * 0.04 / 3))
    assert judged["holds"]
    assert not quality.verdict(entry(-11.0, -11.2, -10.8), theirs)["holds"]
    assert quality.verdict(entry(-9.0, -9.2, -8.8), theirs)["holds"]
    assert quality.verdict(None, theirs) is None
    assert not quality.verdict(entry(None, -9.0), theirs)["holds"]
    assert quality.verdict(theirs, entry(None, -9.0))["holds"]


def test_what_a_ratio_needs_in_order_to_count():
    work = task.Task("cd", 1, 20, 10, 10)
    good, bad = {"holds": True}, {"holds": False}
    assert measure.counts(work, "torch", good, {"torch": good}) == {"counts": True, "why": ""}
    assert not measure.counts(work, "torch", good, {})["counts"]
    assert not measure.counts(work, "torch", good, {"torch": bad})["counts"]
    assert not measure.counts(work, "torch", bad, {"torch": good})["counts"]
    assert not measure.counts(work, "NumPy", None, {})["counts"]
    assert measure.counts(work, "NumPy", good, {})["counts"]


@pytest.fixture
def small_run(tmp_path):
    """A real run of a tiny task against NumPy."""
    work = task.Task("cd", 1, 20, 10, 10, "bb", "half")
    peers = {"NumPy": contest.PEERS["NumPy"]}
    data = Data(n_rows=200)
    kept = quality.Kept(tmp_path / "quality.json")
    for side in ("fastrbm", "NumPy"):
        kept.measure(work, side, data.train(work), data.test(work), 1, n_seeds=2)
    row = measure.measure(work, data, peers, 1, 2, 0.001, kept=quality.Kept(kept.path))
    return {
        "machine": {"processor": "p", "n_threads": 1, "simd": "v4", "versions": {"numpy": "2"}},
        "settings": {}, "missing": {}, "calibration": {}, "rows": [row], "left_out": [],
    }  # fmt: skip


def test_a_row_says_what_it_measured(small_run, tmp_path):
    path = tmp_path / "results" / "run.json"
    results.save(small_run, path)
    run = results.load([path, path])
    assert run == json.loads(path.read_text()) == small_run
    (row,) = run["rows"]
    assert set(row["sides"]) == {"fastrbm", "NumPy"}
    ratio = row["ratios"]["NumPy"]
    assert ratio["over"] == "fastrbm"
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert ratio["quality"]["holds"] in (True, False)
    text = "\n".join(results.text(run))
    assert "cd1/20x10/b10/bb/half" in text
    assert "quality" in text


def test_quality_may_be_measured_after_speed(small_run, tmp_path):
    work = task.Task("cd", 1, 20, 10, 10, "bb", "half")
    known = quality.Kept(tmp_path / "later.json")
    ratio = small_run["rows"][0]["ratios"]["NumPy"]
    ratio.update(quality=None, **measure.counts(work, "NumPy", None, {}))
    before = dict(ratio)
    assert not before["counts"]

    known.entries = {quality.key_of(work, "fastrbm"): entry(-1.0, -1.1)}
    measure.judge_again(small_run, known)
    assert ratio == before  # one side says nothing
    known.entries[quality.key_of(work, "NumPy")] = entry(-1.0, -1.2)
    measure.judge_again(small_run, known)
    assert ratio["counts"]
    assert ratio["quality"]["difference"] == pytest.approx(0.05)
    known.entries[quality.key_of(work, "fastrbm")] = entry(-9.0, -9.1)
    measure.judge_again(small_run, known)
    assert not ratio["counts"]
    assert ratio["why"] == "our quality is worse"


def test_readme_table_stands_between_its_markers(small_run, tmp_path):
    ratio = small_run["rows"][0]["ratios"]["NumPy"]
    ratio.update(median=12.34, counts=True)
    page = tmp_path / "README.md"
    page.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    results.write_readme(small_run, page)
    text = page.read_text()
    assert text.startswith(f"before\n{results.BEGIN}\n| | fastrbm | NumPy |\n")
    assert text.endswith(f"{results.END}\nafter\n")
    assert "| CD-1, 20 x 10, batch 10 |" in text
    assert "| 12.3 x |" in text
    assert "old" not in text
    ratio["counts"] = False  # what does not count is not shown
    results.write_readme(small_run, page)
    assert "12.3 x" not in page.read_text()
    page.write_text("no markers")
    with pytest.raises(ValueError, match="needs one line"):
        results.write_readme(small_run, page)


def test_readme_holds_the_table_of_the_run_that_is_kept(tmp_path):
    page = tmp_path / "README.md"
    page.write_text((CHECKOUT / "README.md").read_text())
    results.write_readme(results.load([CHECKOUT / "docs" / "peers.json"]), page)
    assert page.read_text() == (CHECKOUT / "README.md").read_text()


def test_runs_of_different_machines_make_no_table(small_run, tmp_path):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    results.save(small_run, paths[0])
    results.save({**small_run, "machine": {**small_run["machine"], "processor": "q"}}, paths[1])
    with pytest.raises(ValueError, match="different processor"):
        results.load(paths)


def test_asked_figures_are_read_from_rows_that_exist():
    names = {work.name for work in task.grid()} | set(inside.ROWS)
    assert set(asked.ROWS) <= names
    assert set(results.README_ROWS) <= names
    row = {"ratios": {"torch": {"median": 4.0, "low": 3.0, "high": 5.0, "why": ""},
                      "NumPy": {"median": 6.0, "low": 5.0, "high": 7.0, "why": ""}}}  # fmt: skip
    ((_, needed, aim, measured, holds, why),) = asked.figures({"cd1/784x500/b10/bb/mnist": row})
    assert (needed, aim, holds, why) == (">= 3", ">= 6", True, "")
    assert measured == "4.00 x (3.00 to 5.00), torch"
    ratio = {"v3 over v4": {"median": 2.5, "low": 2.0, "high": 3.0}}
    (figure,) = asked.figures({"simd/epoch": {"ratios": ratio}})
    assert figure[1] == "<= 2.2"
    assert not figure[4]
