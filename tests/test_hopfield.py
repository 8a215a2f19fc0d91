"""Hopfield networks as RBMs: couplings, constants and retrieval."""

import adapters
import numpy as np
import pytest
from reference import exact
from scipy.special import logsumexp

from fastrbm import DependentPatternsWarning, Gaussian, Spin, hopfield, sample

rules = pytest.mark.parametrize("rule", ["hebb", "projection"])


def patterns_of(n_patterns=3, n=8, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], size=(n_patterns, n))


def couplings(patterns, rule):
    p = patterns.astype(float)
    if rule == "hebb":
        return p.T @ p / p.shape[1]
    return p.T @ np.linalg.pinv(p @ p.T) @ p


@rules
@pytest.mark.parametrize("beta", [0.3, 1.0, 2.5])
def test_log_z(rule, beta):
    """log Z of the RBM = log sum_s exp(-beta H) + beta tr J / 2 + (p / 2) log 2 pi, enumerated.

    H = -1/2 sum_{i != j} J_ij s_i s_j has no diagonal here, so that it shows as the constant.
    """
    patterns = patterns_of()
    rbm = hopfield.from_patterns(patterns, rule=rule, beta=beta)
    j = couplings(patterns, rule)
    s = exact.all_states((-1, 1), 8)
    off = j - np.diag(np.diag(j))
    energy = -np.einsum("si,ij,sj->s", s, off, s) / 2
    expected = logsumexp(-beta * energy) + beta * np.trace(j) / 2 + 1.5 * np.log(2 * np.pi)
    # beta is contained in the weights: the RBM itself is taken at beta = 1
    assert logsumexp(-rbm.free_energy(s)) == pytest.approx(expected, rel=1e-12)


@rules
def test_marginal_law(rule):
    """p(s) of the RBM is the Boltzmann law of the network, by the oracle."""
    patterns = patterns_of(2, 6, seed=1)
    rbm = hopfield.from_patterns(patterns, rule=rule, beta=0.8)
    both = exact.Exact(adapters.to_oracle(rbm))
    s = both.v.points
    log_p = 0.4 * np.einsum("si,ij,sj->s", s, couplings(patterns, rule), s)
    np.testing.assert_allclose(both.joint.sum(1), np.exp(log_p - logsumexp(log_p)), atol=1e-11)


@rules
def test_the_model(rule):
    patterns = patterns_of()
    rbm = hopfield.from_patterns(patterns, rule=rule)
    assert (type(rbm.visible), type(rbm.hidden)) == (Spin, Gaussian)
    assert (rbm.n_visible, rbm.n_hidden, rbm.dtype) == (8, 3, np.float64)
    assert (rbm.visible.bias == 0).all()
    assert (rbm.hidden.bias == 0).all()
    assert (rbm.hidden.precision == 1).all()
    for dtype in adapters.DTYPES:
        assert hopfield.from_patterns(patterns, rule=rule, dtype=dtype).dtype == dtype
    for form in (patterns.tolist(), patterns.astype(np.int8), patterns.astype(np.float32)):
        assert hopfield.from_patterns(form, rule=rule) == rbm
    np.testing.assert_allclose(rbm.weights @ rbm.weights.T, couplings(patterns, rule), atol=1e-12)


def test_hebb_is_the_formula_itself():
    patterns = patterns_of()
    rbm = hopfield.from_patterns(patterns, rule="hebb", beta=2.0)
    np.testing.assert_allclose(rbm.weights, np.sqrt(2.0 / 8) * patterns.T, rtol=1e-15)


def test_projection_is_the_formula_itself():
    patterns = patterns_of().astype(float)
    values, vectors = np.linalg.eigh(np.linalg.pinv(patterns @ patterns.T))
    root = (vectors * np.sqrt(values)) @ vectors.T
    rbm = hopfield.from_patterns(patterns, beta=2.0)
    np.testing.assert_allclose(rbm.weights, np.sqrt(2.0) * patterns.T @ root, atol=1e-12)


def test_projection_keeps_every_pattern():
    """J xi = xi: no cross-talk, at any load below N."""
    patterns = patterns_of(20, 40)
    j = hopfield.from_patterns(patterns).weights
    np.testing.assert_allclose(j @ (j.T @ patterns.T), patterns.T, atol=1e-10)


@rules
def test_dependent_patterns_warn(rule):
    base = patterns_of()
    patterns = np.concatenate([base, -base[:1]])
    with pytest.warns(DependentPatternsWarning, match="3 of 4"):
        rbm = hopfield.from_patterns(patterns, rule=rule)
    np.testing.assert_allclose(rbm.weights @ rbm.weights.T, couplings(patterns, rule), atol=1e-10)


def test_independent_patterns_do_not_warn(recwarn):
    hopfield.from_patterns(patterns_of())
    assert len(recwarn) == 0


def test_retrieval():
    """At low temperature a corrupted pattern is completed."""
    patterns = patterns_of(4, 120, seed=2)
    rbm = hopfield.from_patterns(patterns, beta=8.0)
    init = patterns.copy()
    init[:, :12] *= -1
    end = sample(rbm, init=init, n_draws=0, burn_in=20, rng=1).chains
    assert ((end * patterns).mean(1) > 0.95).all()


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (np.array([[0, 1]]), "2 \\* x"),
        (np.array([[1, 255]], np.uint8), "uint8"),
        (np.array([[1.0, np.nan]]), "-1 or \\+1"),
        (np.array([[0.5, 1.0]]), "-1 or \\+1"),
        (np.empty((0, 4)), "empty"),
        (np.ones((2, 3, 4)), "shape"),
    ],
)
def test_bad_patterns(patterns, message):
    with pytest.raises(ValueError, match=message) as caught:
        hopfield.from_patterns(patterns)
    assert "patterns" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"rule": "storkey"}, {"beta": 0}, {"beta": -1}, {"beta": np.inf}, {"dtype": "int8"}],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        hopfield.from_patterns(patterns_of(), **options)
