"""fastrbm: restricted Boltzmann machines from compiled kernels, for use inside other codes.

Examples
--------
>>> import fastrbm
>>> digits = fastrbm.datasets.digits().data
>>> result = fastrbm.train_cd(digits, n_hidden=16, n_epochs=1, rng=1)
>>> fastrbm.sample(result.model, n_chains=4, n_draws=2, rng=1).visible.shape
(4, 2, 64)
"""

import importlib
import importlib.metadata
import logging
import pathlib
import sys

from . import _lib, datasets, hopfield
from .errors import (
    ConvergenceError,
    DependentPatternsWarning,
    DivergenceError,
    FileFormatError,
    Interrupted,
    TooLarge,
)
from .evaluation import (
    exact_moments,
    exact_sample,
    kl_divergence,
    log_likelihood,
    log_partition,
    pseudo_likelihood,
)
from .layers import Bernoulli, Gaussian, Spin
from .model import RBM
from .sampling import Energies, Moments, sample
from .training import train_cd, train_exact

__all__ = [
    "RBM",
    "Bernoulli",
    "ConvergenceError",
    "DependentPatternsWarning",
    "DivergenceError",
    "Energies",
    "FileFormatError",
    "Gaussian",
    "Interrupted",
    "Moments",
    "Spin",
    "TooLarge",
    "datasets",
    "exact_moments",
    "exact_sample",
    "flows",
    "get_include",
    "hopfield",
    "kl_divergence",
    "log_likelihood",
    "log_partition",
    "plot",
    "pseudo_likelihood",
    "sample",
    "show_config",
    "train_cd",
    "train_exact",
]

__version__ = importlib.metadata.version("fastrbm")

logging.getLogger("fastrbm").addHandler(logging.NullHandler())


def __getattr__(name):
    """Import what takes its time when it is first asked for: SciPy is a tenth of a second."""
    if name in ("flows", "plot"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_include():
    """Return the folder that holds ``fastrbm.h``.

    Returns
    -------
    str
        In an installed package its ``include`` folder; in a checkout ``csrc``.

    Examples
    --------
    >>> import os, fastrbm
    >>> os.path.exists(os.path.join(fastrbm.get_include(), "fastrbm.h"))
    True
    """
    package = pathlib.Path(__file__).resolve().parent
    installed = package / "include"
    return str(installed if (installed / "fastrbm.h").exists() else package.parent / "csrc")


def show_config(*, mode="stdout"):
    """Print how this fastrbm was built and what it will use, or return it.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        As in `numpy.show_config`: "dicts" returns a dict and prints nothing.

    Returns
    -------
    dict or None
        version, numpy, compiler, openmp, simd (the level in use), simd_available, n_threads.

    Raises
    ------
    ValueError
        For another mode.

    Examples
    --------
    >>> import fastrbm
    >>> config = fastrbm.show_config(mode="dicts")
    >>> config["version"] == fastrbm.__version__, config["simd"] in config["simd_available"]
    (True, True)
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    build = _lib.build_info()
    config = {
        "version": __version__,
        "numpy": importlib.metadata.version("numpy"),
        "compiler": build["compiler"],
        "openmp": build["openmp"],
        "simd": _lib.simd_level(),
        "simd_available": list(_lib.simd_levels()),
        "n_threads": build["n_threads"],
    }
    if mode == "dicts":
        return config
    width = max(map(len, config)) + 2
    for name, value in config.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        sys.stdout.write(f"{name:<{width}}{shown}\n")
    return None
