"""Settings of the benchmarks: where MNIST is, and the machine's description in the results."""

import mnist
import numpy as np
import pytest

from fastrbm.benchmarks import machine


def pytest_addoption(parser):
    parser.addoption("--data", metavar="NPZ", help="MNIST for the benchmarks (or FASTRBM_MNIST)")


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastrbm"] = machine.describe()


def pytest_report_header(config):
    description = machine.describe()
    names = ("processor", "cores", "simd", "n_threads", "compiler")
    return "machine: " + ", ".join(f"{name} {description[name]}" for name in names)


@pytest.fixture(scope="session")
def mnist_rows(request):
    """The first 10,000 training images, 0 and 1."""
    try:
        train, _ = mnist.load(request.config.getoption("--data"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return mnist.binary(train[:10_000])


@pytest.fixture(scope="session")
def rows():
    """10,000 rows of 784 independent units, as dense as MNIST: enough for anything but quality."""
    return (np.random.default_rng(0).random((10_000, 784)) < 0.13).astype(np.int8)
