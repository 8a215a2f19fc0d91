"""The examples of embedding are compiled, run, and agree with Python for the same key."""

import importlib.util
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastrbm

CHECKOUT = Path(__file__).parents[2]
SEED = 20


@pytest.fixture(scope="module")
def rbm():
    """Nearly an Ising ring of 12 spins with K = 0.3: one hidden spin a bond, cosh(2 w) = exp(2 K).

    The biases are what it has too much; with them a state and its mirror image differ.
    """
    n = 12
    bonds = np.eye(n) + np.roll(np.eye(n), 1, axis=0)
    visible = fastrbm.Spin(n, bias=np.random.default_rng(5).normal(0, 0.1, n))
    return fastrbm.RBM(visible, fastrbm.Spin(n), weights=bonds * math.acosh(math.exp(0.6)) / 2)


@pytest.fixture(scope="module")
def first(rbm):
    """No sweeps yet: a result that only carries a key and a step."""
    return fastrbm.sample(rbm, init=np.ones((16, 12)), n_draws=0, burn_in=0, rng=SEED)


def run(command, **options):
    """Run a command that must succeed; returns its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# ------------------------------------------------------------------------------------------- C


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The example in C, compiled by the one line that its own first comment gives."""
    source = CHECKOUT / "examples/c/global_flip.c"
    line = re.search(r"^//\s+cc (.*) -o global_flip$", source.read_text(), re.MULTILINE)[1]
    compiler = os.environ.get("CC", "cc")
    if shutil.which(shlex.split(compiler)[0]) is None:
        pytest.fail(f"embedding in C needs a C compiler and {compiler!r} is not there: install gcc")
    path = tmp_path_factory.mktemp("c") / "global_flip"
    run(f"{compiler} {line} -o {shlex.quote(str(path))}", shell=True, cwd=CHECKOUT)
    return path


def splitmix64(state):
    """The example's own uniforms."""
    mask = 2**64 - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield ((z ^ (z >> 31)) >> 11) * 2.0**-53


def flip_in_python(rbm, result):
    """What global_flip.c does, through the Python package."""
    uniform = splitmix64(result.info["key"])
    free_energies, magnetisations, accepted = [], [], 0
    for _ in range(200):
        result = fastrbm.sample(rbm, init=result, n_draws=0, burn_in=3)
        energy, mirrored = rbm.free_energy(result.chains), rbm.free_energy(-result.chains)
        flips = [next(uniform) < math.exp(e - m) for e, m in zip(energy, mirrored, strict=True)]
        result.chains[flips] *= -1
        free_energies.append(np.where(flips, mirrored, energy))
        magnetisations.append(result.chains.mean())
        accepted += sum(flips)
    return np.mean(free_energies), np.mean(magnetisations), accepted


def test_c_example_agrees_with_python(program, rbm, first, tmp_path):
    block = tmp_path / "model.rbm"
    block.write_bytes(rbm.to_bytes())
    lines = run([program, block, str(first.info["key"])]).splitlines()
    printed = dict(line.split() for line in lines)
    free_energy, magnetisation, accepted = flip_in_python(rbm, first)
    assert 0 < accepted < 200 * 16
    assert int(printed["flips_accepted"]) == accepted
    assert float(printed["mean_free_energy"]) == pytest.approx(free_energy, rel=1e-12)
    assert float(printed["magnetisation"]) == pytest.approx(magnetisation, rel=1e-12)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"X" + b[1:], lambda b: b""])
def test_c_example_refuses_a_damaged_model(program, rbm, tmp_path, damage):
    block = tmp_path / "model.rbm"
    block.write_bytes(damage(rbm.to_bytes()))
    done = subprocess.run([program, block, "1"], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


# -------------------------------------------------------------------------------------- Cython


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """The example in Cython, built out of tree by its own setup.py and imported."""
    for module, package in (("Cython", "cython"), ("setuptools", "setuptools")):
        if importlib.util.find_spec(module) is None:
            pytest.fail(f"embedding in Cython needs {module}: python -m pip install {package}")
    folder = tmp_path_factory.mktemp("cython") / "example"
    shutil.copytree(CHECKOUT / "examples/cython", folder)
    run([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=folder)
    (path,) = folder.glob("ring.*.so")
    spec = importlib.util.spec_from_file_location("ring", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ring_energy(spins, coupling):
    return -coupling * (spins * np.roll(spins, 1, axis=1)).sum(axis=1)


def test_cython_example_agrees_with_python(ring, rbm, first):
    coupling, n_sweeps = 0.4, 2
    uniforms = np.random.default_rng(6).random((100, 16))
    spins = np.ones((16, 12), np.int8)
    energy, accepted = ring.sample_ring(
        rbm.to_bytes(), first.info["key"], spins, uniforms, coupling, n_sweeps
    )
    result, current, energies, n_accepted = first, np.ones((16, 12)), [], 0
    for row in uniforms:
        result.chains[...] = current
        result = fastrbm.sample(rbm, init=result, n_draws=0, burn_in=n_sweeps)
        change = ring_energy(result.chains, coupling) - ring_energy(current, coupling)
        change -= rbm.free_energy(result.chains) - rbm.free_energy(current)
        moves = row < np.exp(-change)
        current = np.where(moves[:, None], result.chains, current)
        energies.append(ring_energy(current, coupling))
        n_accepted += moves.sum()
    assert 0 < accepted < 1
    assert accepted == n_accepted / uniforms.size
    assert energy == pytest.approx(np.mean(energies), rel=1e-12)
    assert np.array_equal(spins, current)


def test_cython_example_samples_the_ring(ring, rbm):
    """The corrected moves leave exp(-H) as it is: the energy of the ring is the exact one."""
    coupling, n_rings = 0.4, 400
    spins = np.ones((n_rings, 12), np.int8)
    rng = np.random.default_rng(7)
    ring.sample_ring(rbm.to_bytes(), 1, spins, rng.random((300, n_rings)), coupling, 1)
    energy, _ = ring.sample_ring(rbm.to_bytes(), 2, spins, rng.random((1000, n_rings)), coupling, 1)
    t = np.tanh(coupling)  # transfer matrix: <s_i s_{i+1}> = (t + t^11) / (1 + t^12)
    assert energy == pytest.approx(-coupling * 12 * (t + t**11) / (1 + t**12), abs=0.02)


def test_cython_example_refuses_a_damaged_model(ring, rbm):
    spins = np.ones((2, 12), np.int8)
    with pytest.raises(ValueError, match="block"):
        ring.sample_ring(rbm.to_bytes()[:-8], 1, spins, np.ones((1, 2)), 0.4, 1)


def test_include_folder_holds_the_header():
    assert (Path(fastrbm.get_include()) / "fastrbm.h").is_file()
