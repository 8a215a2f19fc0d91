"""The machine's description, which goes with every number that is kept."""

import importlib.metadata
import os
import platform

from .. import _lib


def describe():
    """Return what the machine and the build are: processor, cores, SIMD level, versions.

    Returns
    -------
    dict of str to str, int, bool or None
        None where something is not installed.

    Examples
    --------
    >>> from fastrbm.benchmarks import machine
    >>> description = machine.describe()
    >>> description["cores"] >= 1, "processor" in description
    (True, True)
    """
    build = _lib.build_info()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "fastrbm": build["version"],
        "compiler": build["compiler"],
        "openmp": build["openmp"],
        "simd": _lib.simd_level(),
        "n_threads": build["n_threads"],
        **{name: _version(name) for name in ("numpy", "scipy", "torch", "scikit-learn", "numba")},
    }


def _processor():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("model name", "Model")):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
