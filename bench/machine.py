"""The machine's description, which goes with every number that is kept."""

import importlib.metadata
import os
import platform

import fastrbm


def describe():
    """Return a dict: processor, usable cores, kernel, and the versions that matter."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **fastrbm.show_config(mode="dicts"),
        **{name: _version(name) for name in ("torch", "scikit-learn", "numba")},
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
