"""Settings and fixtures of the whole suite."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A shell that starts the suite in the background makes it ignore Ctrl-C, and its children too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples at every run: a failure is a change of the code, never of the dice.
settings.register_profile(
    "fastrbm",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("fastrbm"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fastrbm"))


@pytest.fixture
def python():
    """Run a program text in a fresh interpreter: python(text, *arguments) -> CompletedProcess."""

    def run(text, *arguments, timeout=60, env=None, **options):
        return subprocess.run(
            [sys.executable, "-c", text, *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})},
            **options,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def mnist():
    """MNIST from the file that FASTRBM_MNIST names; tests that need it are skipped without."""
    path = os.environ.get("FASTRBM_MNIST")
    if not path:
        pytest.skip("set FASTRBM_MNIST to the path of mnist.npz to run this test")
    with np.load(path) as archive:
        return dict(archive)
