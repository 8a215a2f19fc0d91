"""What the exact methods refuse, in what words, and how they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import adapters
import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, Bernoulli, Gaussian, Spin, TooLarge, exact_moments, log_partition

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

LARGE = {
    "split": (Bernoulli(90), Bernoulli(70)),
    "pairwise": (Spin(60), Gaussian(50)),
}


def large(method):
    return RBM(*LARGE[method], weights=None, rng=1, dtype="float64")


@pytest.mark.parametrize("method", LARGE)
@pytest.mark.parametrize("by_name", [True, False])
def test_too_large_for_the_time(method, by_name):
    """The error carries method, states, seconds and bytes, says what would fit, and is quick."""
    began = time.perf_counter()
    with pytest.raises(TooLarge) as caught:
        log_partition(large(method), method=method if by_name else "auto")
    assert time.perf_counter() - began < 1.0
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.method == method
    n = 70 if method == "split" else 60
    assert 2 ** (n - 1) <= error.n_states <= 2**n
    assert error.seconds > 600
    assert error.bytes > 0
    message = str(error)
    assert method in message
    assert "max_seconds" in message
    assert "would fit" in message


@pytest.mark.parametrize("method", LARGE)
def test_the_estimate_of_seconds(method):
    """Twice a unit's work for each unit more, and what is allowed decides."""
    layers = {"split": (Bernoulli, Bernoulli), "pairwise": (Spin, Gaussian)}[method]

    def seconds(n):
        rbm = RBM(layers[0](n), layers[1](n), rng=1)
        with pytest.raises(TooLarge) as caught:
            log_partition(rbm, method=method, max_seconds=1e-9)
        return caught.value.seconds

    assert 1.5 < seconds(45) / seconds(44) < 3
    assert seconds(50) > 20 * seconds(45)


@pytest.mark.parametrize("method", LARGE)
def test_what_fits_is_run(method):
    """A refused size and its estimate: allowed a little more than that, it runs in about that."""
    layers = {"split": (Bernoulli(22), Bernoulli(22)), "pairwise": (Spin(28), Gaussian(20))}[method]
    rbm = RBM(*layers, rng=1, dtype="float64")
    with pytest.raises(TooLarge) as caught:
        log_partition(rbm, method=method, max_seconds=1e-6)
    estimate = caught.value.seconds
    assert estimate < 5
    z = log_partition(rbm, method=method, max_seconds=30 * estimate + 1)
    assert z.method == method
    assert z.seconds < 30 * estimate + 1


@pytest.mark.parametrize(
    ("layers", "method"),
    [((Spin(33), Gaussian(20)), "pairwise"), ((Bernoulli(30), Bernoulli(24)), "split")],
)
def test_too_large_for_the_memory(layers, method):
    rbm = RBM(*layers, rng=1)
    with pytest.raises(TooLarge) as caught:
        log_partition(rbm, method=method, max_bytes=1000)
    error = caught.value
    assert error.method == method
    assert error.bytes > 1000
    assert "max_bytes" in str(error)
    assert log_partition(rbm, method=method, max_bytes=2 * error.bytes, max_seconds=60).value > 0


def test_moments_refuse_as_well():
    for method in LARGE:
        with pytest.raises(TooLarge) as caught:
            exact_moments(large(method))
        assert caught.value.method == method
    with pytest.raises(TooLarge):
        fastrbm.log_likelihood(large("split"), np.zeros((2, 90)))


def test_astronomical_sizes():
    """More states than a float64 can count: still a sentence, at once."""
    with pytest.raises(TooLarge) as caught:
        log_partition(RBM(Bernoulli(1200), Bernoulli(1100), rng=1))
    assert caught.value.n_states >= 2**1100
    with pytest.raises(TooLarge):
        log_partition(RBM(Spin(1500), Gaussian(300), rng=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_seconds", 0),
        ("max_seconds", -1.0),
        ("max_seconds", np.nan),
        ("max_seconds", "60"),
        ("max_bytes", 0),
        ("max_bytes", -5),
        ("max_bytes", "1 GB"),
        ("beta", -0.5),
        ("beta", np.nan),
        ("beta", "1"),
        ("dtype", "float16"),
        ("dtype", "int8"),
        ("dtype", 3),
        ("n_threads", 0),
        ("n_threads", 1.5),
        ("callback", 3),
        ("progress", "yes"),
    ],
)
def test_bad_arguments(name, value):
    """Named, before any work."""
    rbm = RBM(Spin(4), Gaussian(3), rng=1)
    with pytest.raises((ValueError, TypeError), match=name):
        log_partition(rbm, **{name: value})


@pytest.mark.parametrize("function", [log_partition, exact_moments])
@pytest.mark.parametrize("value", [None, 3, np.ones((3, 2)), "model"])
def test_a_model_is_asked_for(function, value):
    with pytest.raises(TypeError, match="rbm"):
        function(value)


def test_data_are_checked():
    rbm = RBM(Bernoulli(4), Bernoulli(3), rng=1)
    for function in (fastrbm.log_likelihood, fastrbm.kl_divergence):
        for data in (
            np.zeros((3, 5)),
            np.full((3, 4), 2),
            np.full((3, 4), np.nan),
            np.zeros((0, 4)),
        ):
            with pytest.raises(ValueError, match="data"):
                function(rbm, data)
        with pytest.raises((ValueError, TypeError), match="log_z"):
            function(rbm, np.zeros((3, 4)), log_z=np.nan)
        with pytest.raises((ValueError, TypeError), match="log_z"):
            function(rbm, np.zeros((3, 4)), log_z="auto")


def test_two_continuous_layers_are_refused_by_name():
    rbm = RBM(Gaussian(3), Gaussian(2), rng=1)
    for method in ("split", "pairwise", "quadrature", "elimination", "counts"):
        with pytest.raises(ValueError, match=method):
            log_partition(rbm, method=method)
    rbm.weights[0, 0] = 5.0
    for function in (log_partition, exact_moments, lambda model: fastrbm.exact_sample(model, 3)):
        with pytest.raises(ValueError, match=r"normalis|positive definite"):
            function(rbm)


# ---------------------------------------------------------------------------- progress and Ctrl-C


@pytest.mark.parametrize(
    ("layers", "method"),
    [((Spin(30), Gaussian(20)), "pairwise"), ((Bernoulli(40), Bernoulli(22)), "split")],
)
def test_progress(layers, method):
    """A callback sees the finished part grow to one, and an estimate of what is left."""
    rbm = RBM(*layers, rng=1)
    plain = log_partition(rbm, method=method)
    seen = []
    z = log_partition(rbm, method=method, callback=seen.append)
    assert z.value == plain.value
    done = [state.done for state in seen]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert all(state.seconds >= 0 and state.seconds_left >= 0 for state in seen)


@pytest.mark.parametrize("method", ["pairwise", "split"])
def test_ctrl_c_in_a_callback(method):
    """A callback that presses Ctrl-C ends the run; the next run is as if nothing had happened."""
    layers = (Spin(30), Gaussian(20)) if method == "pairwise" else (Bernoulli(40), Bernoulli(22))
    rbm = RBM(*layers, rng=1)
    before = log_partition(rbm, method=method)

    def press(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log_partition(rbm, method=method, callback=press)
    assert log_partition(rbm, method=method).value == before.value


LONG = """
import json, sys, time
import numpy as np
import fastrbm

what, pair, n_threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
layers = {
    "pairwise": (fastrbm.Spin(44), fastrbm.Gaussian(40)),
    "split": (fastrbm.Bernoulli(60), fastrbm.Bernoulli(36)),
    "cgf": (fastrbm.Bernoulli(34), fastrbm.Gaussian(900)),
}[pair]
rng = np.random.default_rng(0)
rbm = fastrbm.RBM(*layers, weights=0.1 * rng.standard_normal((layers[0].n, layers[1].n)))
method = {"cgf": "split"}.get(pair, pair)
more = {"n_threads": n_threads} if n_threads else {}
calls = {
    "log_partition": lambda: fastrbm.log_partition(rbm, method=method, max_seconds=1e9, **more),
    "exact_moments": lambda: fastrbm.exact_moments(rbm, max_seconds=1e9, **more),
    "exact_sample": lambda: fastrbm.exact_sample(rbm, 5, max_seconds=1e9, **more),
}
print("ready", flush=True)
try:
    calls[what]()
except KeyboardInterrupt as interrupted:
    print("stopped", flush=True)
    small = fastrbm.RBM(fastrbm.Spin(12), fastrbm.Gaussian(9), rng=1)
    z = fastrbm.log_partition(small)
    m = fastrbm.exact_moments(small)
    print(json.dumps({"usable": abs(z.value - float(m.log_partition)) < 1e-12}), flush=True)
"""


@posix
@pytest.mark.parametrize("pair", ["pairwise", "split", "cgf"])
@pytest.mark.parametrize(
    ("what", "n_threads"),
    [("log_partition", 1), ("log_partition", 0), ("exact_moments", 0), ("exact_sample", 0)],
)
def test_interrupted(what, pair, n_threads):
    """SIGINT into hours of work returns within a second and leaves a process that goes on."""
    child = subprocess.Popen(
        [sys.executable, "-c", LONG, what, pair, str(n_threads)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        time.sleep(0.3)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n", child.stderr.read()
        took = time.monotonic() - sent
        assert json.loads(child.stdout.readline())["usable"]
        assert child.wait(60) == 0, child.stderr.read()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()
    assert took < 1.0


def test_the_gil_is_released():
    """Another thread of Python counts on while a log Z is computed."""
    import threading

    rbm = adapters.to_rbm(adapters.random_model("bernoulli", "bernoulli", 200, 20))
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = counted[0]
        log_partition(rbm, method="split", n_threads=1)
        during = counted[0] - before
    finally:
        stop.set()
        thread.join()
    assert during > 10


def test_a_forked_child_runs():
    """Serial in the child, with the parent's bits."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    rbm = adapters.to_rbm(adapters.random_model("spin", "gaussian", 20, 9))
    before = log_partition(rbm, n_threads=2).value
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, repr(log_partition(rbm, n_threads=2).value).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        value = pipe.read()
    os.waitpid(child, 0)
    assert float(value) == before
