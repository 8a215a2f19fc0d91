"""Ctrl-C, forks, threads and the GIL: long work can always be stopped and leaves usable state."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, Bernoulli, Gaussian, Interrupted, Spin, _lib, sample, train_cd
from fastrbm.evaluation import reconstruction_error

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

# Each begins work that lasts far longer than the test, and reports how it ended.
COMMON = """
import json, sys
import numpy as np
import fastrbm
"""

LONG_TRAINING = (
    COMMON
    + """
data = (np.random.default_rng(0).random((20_000, 784)) < 0.2).astype(np.int8)
visible = sys.argv[1]
if visible == "spin":
    data = 2 * data - 1
if visible == "gaussian":
    data = data.astype(np.float32)
options = {"visible": visible, "n_hidden": 500, "k": 500, "rng": 1}
options |= {"batch_size": int(sys.argv[3]), "persistent": sys.argv[2] == "persistent"}

def learning_rate(epoch):  # asked when an epoch begins
    print("ready", flush=True)
    return 0.01

try:
    fastrbm.train_cd(data, learning_rate=learning_rate, **options)
except KeyboardInterrupt as interrupted:
    print("stopped", flush=True)
    result = interrupted.result
    arrays = [result.model.weights, result.model.visible.bias, result.model.hidden.bias]
    result.model.sample_hidden(data[:5], rng=1)
    report = {
        "kind": type(interrupted).__name__,
        "finite": bool(all(np.isfinite(a).all() for a in arrays)),
        "epochs": len(result.history["epoch"]),
        "stopped": result.info["stopped"],
    }
    print(json.dumps(report), flush=True)
"""
)

LONG_SAMPLING = (
    COMMON
    + """
layers = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}
rbm = fastrbm.RBM(layers[sys.argv[1]](784), fastrbm.Spin(500), rng=1)

class Ready:  # an observer is told when the sweeps begin
    def start(self, rbm, n_chains, beta):
        print("ready", flush=True)

    def update(self, visible, hidden):
        pass

    def result(self):
        pass

run = {"n_chains": int(sys.argv[2]), "burn_in": 10**7, "observers": [Ready()], "rng": 1}
try:
    fastrbm.sample(rbm, n_draws=3, **run)
except KeyboardInterrupt as interrupted:
    print("stopped", flush=True)
    result = interrupted.result
    again = fastrbm.sample(rbm, init=result, burn_in=0, n_draws=1)
    report = {
        "kind": type(interrupted).__name__,
        "draws": result.visible.shape[1],
        "goes_on": again.step == result.step + 1,
        "states": bool(np.isfinite(result.chains).all()),
    }
    print(json.dumps(report), flush=True)
"""
)


def interrupt(text, *arguments, after=0.3):
    """Send SIGINT a while after "ready"; return the report and how long "stopped" took."""
    child = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        time.sleep(after)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n", child.stderr.read()
        took = time.monotonic() - sent
        report = child.stdout.readline()
        assert child.wait(60) == 0, child.stderr.read()
        return json.loads(report), took
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


@posix
@pytest.mark.parametrize(
    ("visible", "mode", "batch_size"),
    [
        ("bernoulli", "cd", 100),
        ("spin", "persistent", 100),
        ("gaussian", "cd", 100),
        ("bernoulli", "cd", 20_000),  # one update takes minutes: the stop comes within it
        ("spin", "persistent", 20_000),
    ],
)
def test_interrupted_training(visible, mode, batch_size):
    """SIGINT 0.3 s into a long epoch returns within 1 s with a usable result."""
    report, took = interrupt(LONG_TRAINING, visible, mode, batch_size)
    assert took < 1.0
    assert report["kind"] == "Interrupted"
    assert report["finite"]
    assert report["stopped"] == "interrupted"
    assert report["epochs"] == 0


@posix
@pytest.mark.parametrize(
    ("visible", "n_chains"), [("spin", 100), ("gaussian", 20_000), ("bernoulli", 100_000)]
)
def test_interrupted_sampling(visible, n_chains):
    report, took = interrupt(LONG_SAMPLING, visible, n_chains)
    assert took < 1.0
    assert report["kind"] == "Interrupted"
    assert report["goes_on"]
    assert report["states"]
    assert report["draws"] == 0


def raise_once_when(condition):
    """A callback that presses Ctrl-C at one point of a run."""

    def callback(state):
        if condition(state):
            raise KeyboardInterrupt

    return callback


def test_interrupted_between_epochs():
    """The result is the state after the last whole update: that of fewer epochs."""
    data = np.random.default_rng(0).integers(2, size=(50, 9))
    with pytest.raises(Interrupted) as caught:
        train_cd(data, n_hidden=4, rng=1, callback=raise_once_when(lambda s: s.epoch == 3))
    result = caught.value.result
    assert isinstance(caught.value, KeyboardInterrupt)
    assert result.model == train_cd(data, n_hidden=4, n_epochs=3, rng=1).model
    assert len(result.history["epoch"]) == 3
    assert result.info["stopped"] == "interrupted"


def test_interrupted_between_draws():
    rbm = RBM(Spin(9), Spin(4), rng=1)
    with pytest.raises(Interrupted) as caught:
        sample(rbm, n_draws=8, rng=1, callback=raise_once_when(lambda s: s.n_done == 3))
    result = caught.value.result
    whole = sample(rbm, n_draws=8, rng=1)
    np.testing.assert_array_equal(result.visible, whole.visible[:, :3])
    rest = sample(rbm, init=result, n_draws=5, burn_in=0)
    np.testing.assert_array_equal(rest.visible, whole.visible[:, 3:])


@posix
def test_an_interrupted_run_goes_on_as_if_nothing_happened():
    """A real SIGINT in the middle of sweeps: the chain goes on bit for bit."""
    rbm = RBM(Spin(200), Spin(100), rng=1)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(Interrupted) as caught:
            sample(rbm, n_chains=50, n_draws=1, burn_in=10**8, rng=1)
    finally:
        timer.cancel()
    half = caught.value.result
    assert half.step > 0
    rest = sample(rbm, init=half, n_draws=1, burn_in=3)
    whole = sample(rbm, n_chains=50, n_draws=1, burn_in=half.step + 3, rng=1)
    np.testing.assert_array_equal(rest.visible, whole.visible)


@posix
@pytest.mark.parametrize("persistent", [False, True])
def test_an_interrupted_epoch_is_a_number_of_whole_updates(persistent):
    """Data of ones and a model of zeros that never move: each update adds the rate to each bias."""
    rbm = RBM(Bernoulli(200, bias=-60.0), Bernoulli(100), weights=np.zeros((200, 100)))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(Interrupted) as caught:
            train_cd(
                np.ones((100_000, 200), np.int8), model=rbm, freeze=("weights", "hidden_bias"),
                k=20, batch_size=10, learning_rate=2.0**-20, momentum=0, weight_decay=0, rng=1,
                persistent=persistent, chains=np.zeros((10, 200)) if persistent else None,
            )  # fmt: skip
    finally:
        timer.cancel()
    result = caught.value.result
    n = result.info["n_updates"]
    assert n > 0
    np.testing.assert_array_equal(result.model.visible.bias, -60 + n * 2.0**-20)


@posix
def test_an_update_cut_short_leaves_no_trace():
    """Stopped among the sweeps of the first update: the model and the chains are those given."""
    rng = np.random.default_rng(0)
    rbm = RBM(Spin(784), Spin(300), rng=1)
    data, chains = rng.choice([-1, 1], (3000, 784)), rng.choice([-1, 1], (2000, 784))

    def learning_rate(epoch):  # asked when the epoch begins
        timer.start()
        return 0.01

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(Interrupted) as caught:
            train_cd(
                data, model=rbm, persistent=True, chains=chains, k=10**5, batch_size=3000,
                learning_rate=learning_rate, rng=1,
            )  # fmt: skip
    finally:
        timer.cancel()
    result = caught.value.result
    assert result.info["n_updates"] == 0
    assert result.model == rbm
    np.testing.assert_array_equal(result.chains, chains)


def long_functions():
    """Calls that would last far longer than a second, one for each kind of work."""
    rng = np.random.default_rng(0)
    rbm = RBM(Bernoulli(784), Bernoulli(500), rng=1)
    continuous = RBM(Bernoulli(784), Gaussian(500), rng=1)
    data = rng.integers(2, size=(60_000, 784), dtype=np.int8)
    many = np.broadcast_to(data[:1], (1_000_000, 784))
    spins = np.broadcast_to(rng.choice(np.array([-1, 1], np.int8), (100, 4000)), (100, 4000))
    wide = np.concatenate([spins] * 100)
    return {
        "pseudo_likelihood": lambda: fastrbm.pseudo_likelihood(rbm, many),
        "pseudo_likelihood by cgfs": lambda: fastrbm.pseudo_likelihood(continuous, many),
        "free_energy": lambda: rbm.free_energy(many),
        "mean_hidden": lambda: rbm.mean_hidden(many),
        "sample_hidden": lambda: rbm.sample_hidden(many, rng=1),
        "reconstruction_error": lambda: reconstruction_error(rbm, many, rng=1),
        "preparation": lambda: train_cd(wide, n_hidden=2, n_epochs=0),
        "metrics": lambda: train_cd(
            data, model=rbm, n_epochs=1, learning_rate=0, freeze=training_names, batch_size=20_000,
            metrics="exact_pseudo_likelihood", metrics_rows=60_000,
        ),
    }  # fmt: skip


training_names = ("weights", "visible_bias", "hidden_bias")


@posix
@pytest.mark.parametrize("name", long_functions())
def test_interrupted_functions(name):
    """Everything that can be long stops within a second."""
    call = long_functions()[name]
    after = 1.5 if name == "metrics" else 0.3  # past the epoch, inside the metric
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    began = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        timer.cancel()
    assert time.monotonic() - began < after + 1.0


# -------------------------------------------------------------------------- forks, threads, the GIL

FORK = """
import os, sys
import numpy as np
import fastrbm
rbm = fastrbm.RBM(fastrbm.Spin(300), fastrbm.Spin(200), rng=1)
data = np.where(np.random.default_rng(0).random((300, 300)) < 0.5, -1, 1)
def work():
    run = fastrbm.sample(rbm, n_chains=200, n_draws=1, rng=1, n_threads=2)
    model = fastrbm.train_cd(data, n_hidden=50, n_epochs=1, rng=1, n_threads=2).model
    return run.visible.tobytes() + model.to_bytes(), run.info["n_threads"]
parent, _ = work()                    # opens a team of threads
child = os.fork()
if child == 0:
    same, n_threads = work()
    os._exit(0 if same == parent and n_threads == 1 else 3)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), work()[0] == parent)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_works(python):
    """After a parent's threaded call a child runs serial, finishes, and gives the same bits."""
    run = python(FORK, timeout=60)
    assert run.stdout == "0 True\n", run.stderr


def counts_while(work):
    """How often another Python thread ran, at most every millisecond, while work did."""
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    try:
        work()
    finally:
        seconds = time.monotonic() - began
        done.set()
        thread.join()
    return len(ticks), seconds


@pytest.mark.parametrize("work", ["sample", "train", "free_energy", "layer"])
def test_the_gil_is_released(work, monkeypatch):
    """Other Python threads run during every kind of long call, here made by one thread."""
    executor = _lib.executor
    monkeypatch.setattr(_lib, "executor", lambda n_threads=None, kernel="auto": executor(1, kernel))
    rng = np.random.default_rng(0)
    rbm = RBM(Bernoulli(784), Bernoulli(500), rng=1)
    data = rng.integers(2, size=(4000, 784), dtype=np.int8)
    layer, x = Gaussian(1000, bias=np.zeros(1000, np.float32)), np.zeros((20_000, 1000), np.float32)
    calls = {
        "sample": lambda: sample(rbm, n_chains=1000, n_draws=1, burn_in=60, rng=1),
        "train": lambda: train_cd(data, model=rbm, k=8, n_epochs=1, metrics=()),
        "free_energy": lambda: rbm.free_energy(np.broadcast_to(data[0], (20_000, 784))),
        "layer": lambda: layer.sample(x, rng=1),
    }
    ticks, seconds = counts_while(calls[work])
    assert seconds > 0.03  # else the call is too short to tell
    assert ticks >= 5  # with the GIL held the other thread runs before and after only


def test_a_held_gil_is_noticed():
    """The same count over one long call into C that keeps the GIL."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("this Python has no GIL")
    ticks, seconds = counts_while(lambda: sum(range(20_000_000)))
    assert seconds > 0.03
    assert ticks < 5


def test_the_error_is_a_keyboard_interrupt():
    assert issubclass(fastrbm.Interrupted, KeyboardInterrupt)
