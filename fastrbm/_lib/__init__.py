"""The compiled core, and how to run it: threads and SIMD level.

`core` is thin Cython over csrc/; nothing else in the package touches C. Two things are decided here
and passed down with every call, since the C library reads no environment and keeps no state: how
many threads (cgroup-aware; one in a forked child, where OpenMP's team would hang) and which SIMD
level (the best of the machine, or FASTRBM_SIMD).
"""

import contextlib
import functools
import importlib.util
import itertools
import os
import sys


def _on_command_line():
    """Whether this process is `python -m fastrbm ...` or `fastrbm ...`."""
    words = sys.orig_argv
    as_module = any(pair == ("-m", "fastrbm") for pair in itertools.pairwise(words))
    return as_module or os.path.basename(sys.argv[0]) == "fastrbm"


try:
    from fastrbm._lib import core
except ImportError as error:
    built = importlib.util.find_spec("fastrbm._lib.core") is not None
    message = (
        "fastrbm's compiled module is missing: run `python -m pip install -e .` in the checkout "
        "(or `python -m pip install fastrbm`) and try again"
    ) + (f" ({error})" if built else "")
    if _on_command_line():  # a sentence, not a traceback: the package is imported before its cli
        sys.exit(message)
    raise ImportError(message) from error

__all__ = ["build_info", "core", "executor", "simd_level", "simd_levels", "use_simd"]

_forked = False
_simd = os.environ.get("FASTRBM_SIMD") or None


def _mark_forked():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked)


def simd_levels():
    """Names of the SIMD levels that this machine can run, plain first."""
    return core.simd_levels()


def simd_level():
    """Name of the SIMD level in use: FASTRBM_SIMD, or the best of the machine."""
    levels = core.simd_levels()
    if _simd is None:
        return levels[-1]
    if _simd not in levels:
        raise ValueError(f"FASTRBM_SIMD must be one of {', '.join(levels)} here, got {_simd!r}")
    return _simd


@contextlib.contextmanager
def use_simd(level):
    """Run the block on this SIMD level: for tests and measurements."""
    global _simd
    before, _simd = _simd, level
    try:
        simd_level()
        yield
    finally:
        _simd = before


@functools.cache
def _machine_threads():
    """OMP_NUM_THREADS if set, else the CPUs this process may use, by affinity and cgroup quota."""
    most = core.openmp_threads()
    if most == 0:
        return 1
    if os.environ.get("OMP_NUM_THREADS"):
        return most
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, min(most, cpus, quota if quota is not None else cpus))


def _cgroup_cpus():
    """The CPU quota of the control group (version 2, then 1), rounded up; None without one."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return -(-int(quota) // int(period))


def _n_threads(n_threads):
    """The rule of scikit-learn: None is the machine, -1 all of it, -2 all but one, ..."""
    if n_threads is None:
        wanted = _machine_threads()
    elif isinstance(n_threads, bool) or not hasattr(n_threads, "__index__"):
        raise TypeError(f"n_threads must be an integer or None, got {n_threads!r}")
    else:
        wanted = n_threads.__index__()
        if wanted == 0:
            raise ValueError("n_threads must be None, positive, or negative (-1: all), got 0")
        if wanted < 0:
            wanted = max(1, _machine_threads() + 1 + wanted)
    if _forked or core.openmp_threads() == 0:
        return 1
    return min(wanted, MAX_THREADS)


MAX_THREADS = 256
"""More threads than any machine this runs on has: a guard against typing errors."""


@functools.lru_cache(maxsize=64)
def _executor(level, n_threads, kernel):
    return core.Exec(level, n_threads, kernel)


def executor(n_threads=None, kernel="auto"):
    """How to run a call: the SIMD level in use and a number of threads.

    Parameters
    ----------
    n_threads : int or None
        None: the machine (OMP_NUM_THREADS, else affinity and cgroup). Negative, as in
        scikit-learn: all + 1 + n_threads.
    kernel : {"auto", "tables", "rows"}
        How products of binary states are made.
    """
    return _executor(simd_level(), _n_threads(n_threads), kernel)


def build_info():
    """Version, compiler, OpenMP and default threads of the compiled module."""
    return {
        "version": core.version(),
        "compiler": core.compiler(),
        "openmp": core.openmp_threads() > 0,
        "n_threads": _n_threads(None),
    }
