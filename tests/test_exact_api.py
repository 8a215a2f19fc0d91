"""What the exact functions are called, choose, say and refuse; shards; sources of gradients.

Whether the numbers are right is the matter of the other test_exact files.
"""

import pickle
from concurrent.futures import ThreadPoolExecutor

import adapters
import numpy as np
import pytest
from reference import models

import fastrbm
from fastrbm import (
    RBM,
    Bernoulli,
    Gaussian,
    Interrupted,
    Spin,
    TooLarge,
    _lib,
    evaluation,
    exact_moments,
    exact_sample,
    kl_divergence,
    log_likelihood,
    log_partition,
)
from fastrbm.evaluation import Shards
from fastrbm.evaluation.exact import METHODS, NotApplicable
from fastrbm.evaluation.exact.moments import gradient_source

PUBLIC = ("exact_moments", "exact_sample", "kl_divergence", "log_likelihood", "log_partition")


def of_pair(visible, hidden, n_visible=6, n_hidden=5, **options):
    return adapters.to_rbm(adapters.random_model(visible, hidden, n_visible, n_hidden, **options))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    assert name in fastrbm.__all__
    assert name in evaluation.__all__
    assert getattr(fastrbm, name) is getattr(evaluation, name)
    assert ">>> " in getattr(fastrbm, name).__doc__


# ------------------------------------------------------------------------------- what is chosen


def by_method():
    """A model for each method that only this one, or this one soonest, can treat."""
    rng = np.random.default_rng(0)
    chain = np.eye(60) + np.eye(60, k=1)
    blocks = np.kron(np.eye(4), rng.standard_normal((5, 4)))
    return {
        "pairwise": RBM(Spin(24), Gaussian(9), rng=1),
        "split": RBM(Bernoulli(200), Spin(9), rng=1),
        "quadrature": RBM(Spin(300), Gaussian(2), rng=1),
        "counts": RBM(Bernoulli(400), Spin(300), weights=np.full((400, 300), 0.01)),
        "elimination": RBM(Spin(60), Bernoulli(60), weights=chain),
        "gaussian": RBM(Gaussian(9), Gaussian(30), rng=1),
        "components": RBM(Spin(20), Spin(16), weights=blocks),
    }


@pytest.mark.parametrize("method", METHODS)
def test_auto_finds_the_method(method):
    rbm = by_method()[method]
    z = log_partition(rbm)
    assert z.method == method
    assert z.reason
    assert z.n_states >= 1
    assert 0 < z.error < 1e-9
    assert z.seconds == z.info["seconds"] > 0
    assert z.info["beta"] == 1.0
    assert z.info["simd"] in _lib.simd_levels()
    assert float(z) == z.value
    by_name = log_partition(rbm, method=method)
    assert by_name.value == z.value
    if method != "components":
        assert "by name" in by_name.reason


def test_methods_are_all_tested():
    assert set(by_method()) == set(METHODS)


def test_units_without_couplings_do_not_count():
    """A dead pixel is a factor of its own; the states of the others alone are summed."""
    weights = np.zeros((40, 6))
    weights[:12] = np.random.default_rng(0).standard_normal((12, 6))
    rbm = RBM(Bernoulli(40, bias=0.5), Bernoulli(6), weights=weights)
    z = log_partition(rbm)
    small = RBM(Bernoulli(12, bias=0.5), Bernoulli(6), weights=weights[:12])
    alone = log_partition(small)
    assert z.method == alone.method == "split"
    assert z.n_states == alone.n_states
    assert "without couplings" in z.reason
    assert abs(z.value - alone.value - 28 * np.logaddexp(0, 0.5)) <= z.error + alone.error


def test_no_couplings_at_all():
    z = log_partition(RBM(Spin(5000), Gaussian(3000), weights=np.zeros((5000, 3000))))
    assert z.method == "components"
    assert z.reason == "no couplings: every unit by itself"
    assert z.n_states == 1


REFUSED = {
    "pairwise": ("Gaussian", [("spin", "spin"), ("gaussian", "gaussian")]),
    "split": ("discrete", [("gaussian", "gaussian")]),
    "quadrature": ("Gaussian", [("spin", "spin"), ("gaussian", "gaussian")]),
    "counts": ("weights", [("spin", "spin"), ("gaussian", "gaussian")]),
    "elimination": ("discrete", [("gaussian", "gaussian")]),
    "gaussian": ("Gaussian", [("spin", "spin"), ("gaussian", "spin")]),
    "components": ("do not touch", [("spin", "spin"), ("gaussian", "gaussian")]),
}


@pytest.mark.parametrize("function", [log_partition, exact_moments])
@pytest.mark.parametrize(
    ("method", "word", "pair"),
    [(method, word, pair) for method, (word, pairs) in REFUSED.items() for pair in pairs],
)
def test_methods_refuse_by_name(method, word, pair, function):
    with pytest.raises(NotApplicable, match=f"'{method}'.*{word}"):
        function(of_pair(*pair), method=method)


def test_quadrature_says_how_many_units_it_takes():
    with pytest.raises(NotApplicable, match="at most 3 Gaussian units, got 4"):
        log_partition(RBM(Spin(5), Gaussian(4), rng=1), method="quadrature")


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="method must be one of 'auto', 'pairwise'"):
        log_partition(RBM(Spin(3), Spin(2), rng=1), method="ais")


def test_refusals_can_be_sent():
    """A TooLarge comes back whole from another process."""
    rbm = RBM(Bernoulli(90), Bernoulli(70), rng=1)
    with pytest.raises(TooLarge) as caught:
        log_partition(rbm)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is TooLarge
    assert str(error) == str(caught.value)
    assert (error.method, error.n_states) == ("split", 2**70)
    assert error.seconds == caught.value.seconds > 1e9
    assert "layer of at most" in str(error)


def test_parts_are_refused_as_one():
    """Many small parts may be too much together, and the message speaks of the largest."""
    weights = np.kron(np.eye(2), np.random.default_rng(0).standard_normal((50, 45)))
    rbm = RBM(Spin(100), Spin(90), weights=weights)
    with pytest.raises(TooLarge, match="in its largest part, a layer of at most"):
        log_partition(rbm, max_seconds=10)


# -------------------------------------------------------------------------------------- results


def test_representations():
    rbm = RBM(Spin(14), Gaussian(9), rng=1)
    text = repr(log_partition(rbm))
    assert text.startswith("LogPartition(1")
    assert "+-" in text
    assert "nats, pairwise, 2^13 states" in text
    text = repr(exact_moments(rbm))
    assert text.startswith("ExactMoments(14 visible and 9 hidden units, log_partition 1")
    assert "pairwise" in text
    assert repr(Shards(rbm)).endswith("shards, pairwise)")


@pytest.mark.parametrize(("visible", "hidden"), models.PAIRS)
def test_what_moments_hold(visible, hidden):
    rbm = of_pair(visible, hidden)
    m = exact_moments(rbm, beta=0.8)
    assert (m.visible.shape, m.hidden.shape, m.products.shape) == ((6,), (5,), (6, 5))
    assert (m.visible_products is None) == (m.method != "pairwise")
    assert m.heat_capacity is None
    assert m.entropy == pytest.approx(m.log_partition + 0.8 * m.energy, abs=1e-13)
    assert m.n_states >= 1
    assert 0 < m.error < 1e-10
    full = exact_moments(rbm, beta=0.8, visible_products=True, heat_capacity=True)
    assert full.visible_products.shape == (6, 6)
    np.testing.assert_array_equal(full.visible_products, full.visible_products.T)
    assert full.heat_capacity > 0
    assert exact_moments(rbm, visible_products=False).visible_products is None


@pytest.mark.parametrize("name", ["visible_products", "heat_capacity"])
def test_moments_take_flags(name):
    with pytest.raises(TypeError, match=name):
        exact_moments(RBM(Spin(3), Spin(2), rng=1), **{name: "yes"})


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_methods_agree_on_moments(visible, hidden):
    """Every method that applies, on one model with equal rows and parts that do not touch."""
    rbm = of_pair(visible, hidden, 4, 3, scale=0.7)
    rbm.weights[...] = np.array([[0.8, 0, 0], [-0.8, 0, 0], [0, 0.5, -0.3], [0, 0.5, -0.3]])
    found = {}
    for method in METHODS:
        try:
            found[method] = exact_moments(
                rbm, method=method, beta=0.9, visible_products=True, heat_capacity=True
            )
        except NotApplicable:
            continue
    assert len(found) >= 4
    first = found["elimination"]
    for method, other in found.items():
        for name in ("visible", "hidden", "products", "visible_products", "log_partition",
                     "energy", "heat_capacity"):  # fmt: skip
            a, b = getattr(first, name), getattr(other, name)
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-11, err_msg=f"{method} {name}")


@pytest.mark.parametrize(("visible", "hidden"), models.MIXED_PAIRS)
def test_methods_agree_on_draws(visible, hidden):
    """Means of 20,000 draws by every method, within 5 standard errors; rows by their number."""
    rbm = of_pair(visible, hidden, 4, 3, scale=0.7)
    rbm.weights[...] = np.array([[0.8, 0, 0], [-0.8, 0, 0], [0, 0.5, -0.3], [0, 0.5, -0.3]])
    m = exact_moments(rbm, method="elimination")
    for method in METHODS:
        try:
            v, h = exact_sample(rbm, 20_000, rng=4, method=method)
        except NotApplicable:
            continue
        for drawn, mean in ((v, m.visible), (h, m.hidden)):
            assert (abs(drawn.mean(0) - mean) < 5 * drawn.std(0) / np.sqrt(20_000)).all(), method
        products = v[:, :, None] * h[:, None, :]
        bound = 5 * products.std(0) / np.sqrt(20_000)
        assert (abs(products.mean(0) - m.products) < bound).all(), method
        few = exact_sample(rbm, 3, rng=4, method=method)
        np.testing.assert_array_equal(few[0], v[:3])
        np.testing.assert_array_equal(few[1], h[:3])


def test_no_draws():
    v, h = exact_sample(RBM(Spin(4), Gaussian(3), rng=1), 0)
    assert (v.shape, h.shape, v.dtype) == ((0, 4), (0, 3), np.float32)


# ----------------------------------------------------------------------------------- likelihood


def test_log_z_is_taken_or_computed():
    rbm = RBM(Bernoulli(8), Bernoulli(6), rng=1)
    data = np.random.default_rng(0).integers(2, size=(30, 8))
    z = log_partition(rbm)
    computed = log_likelihood(rbm, data)
    assert (
        computed == log_likelihood(rbm, data, log_z=z) == log_likelihood(rbm, data, log_z=z.value)
    )
    assert log_likelihood(rbm, data, log_z=z.value + 1) == pytest.approx(computed - 1)
    assert computed == pytest.approx(-rbm.free_energy(data).mean() - z.value, abs=1e-6)
    assert kl_divergence(rbm, data, log_z=z) == kl_divergence(rbm, data)


def test_log_z_of_another_temperature():
    rbm = RBM(Bernoulli(8), Bernoulli(6), rng=1)
    with pytest.raises(ValueError, match="log_z is that of beta=2, beta is 1"):
        log_likelihood(rbm, np.zeros((2, 8)), log_z=log_partition(rbm, beta=2.0))


def test_divergence_counts_repeated_rows():
    """Rows 0, 0, 0, 1 of a fair coin: log 2 minus their entropy."""
    rbm = RBM(Bernoulli(1), Spin(1), weights=[[0.0]])
    value = kl_divergence(rbm, [[0], [0], [0], [1]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert value == pytest.approx(np.log(2) - entropy, abs=1e-14)


def test_divergence_needs_discrete_units():
    with pytest.raises(ValueError, match="rbm must have discrete visible units"):
        kl_divergence(RBM(Gaussian(2), Spin(2), rng=1), np.zeros((3, 2)))


# --------------------------------------------------------------------------------------- shards


def with_shards():
    return {
        "pairwise": RBM(Spin(22, bias=0.1), Gaussian(6), rng=1),
        "split": RBM(Bernoulli(500), Bernoulli(18), rng=1),
    }


@pytest.mark.parametrize("method", ["pairwise", "split"])
def test_shards_merge_to_the_bits_of_one_run(method):
    rbm = with_shards()[method]
    z = log_partition(rbm, method=method)
    shards = Shards(rbm, method=method)
    assert shards.method == method
    assert shards.n_states == z.n_states
    assert shards.n_shards > 3
    assert shards.seconds() > 0
    order = np.random.default_rng(0).permutation(shards.n_shards)
    parts = [shards.run(some) for some in np.array_split(order, 3)]
    assert parts[0].dtype == shards.dtype
    merged = Shards(rbm, method=method).merge(np.concatenate(parts))  # by another process
    assert (merged.value, merged.error) == (z.value, z.error)


def test_shards_are_checked():
    shards = Shards(with_shards()["pairwise"])
    parts = shards.run()
    for wrong in (parts[1:], np.concatenate([parts, parts[:1]]), parts[[0] * len(parts)]):
        with pytest.raises(ValueError, match="each of the"):
            shards.merge(wrong)
    with pytest.raises(TypeError, match="partials"):
        shards.merge(np.zeros(3))
    for wrong in ([-1], [shards.n_shards]):
        with pytest.raises(ValueError, match="n_shards"):
            shards.run(wrong)
    with pytest.raises(TypeError, match="indices"):
        shards.run([0.5])
    with pytest.raises(TooLarge):
        shards.run(max_seconds=1e-9)
    for bad in (0, -1.0):
        with pytest.raises(ValueError, match="max_seconds"):
            shards.run(max_seconds=bad)
        with pytest.raises(ValueError, match="max_seconds"):
            shards.merge(shards.run(), max_seconds=bad)
    with pytest.raises(NotApplicable):
        Shards(RBM(Gaussian(3), Gaussian(3), rng=1))
    with pytest.raises(ValueError, match="method"):
        Shards(with_shards()["pairwise"], method="counts")


@pytest.mark.parametrize("method", ["pairwise", "split"])
def test_an_interrupted_run_can_be_finished(method):
    """The error carries the shards that were done; the others complete them."""
    rbm = with_shards()[method]
    shards = Shards(rbm, method=method)

    def enough(state):
        return state.done > 0

    with pytest.raises(Interrupted) as caught:
        shards.run(callback=enough, n_threads=1)
    done = caught.value.result
    assert len(done) > 0
    rest = np.setdiff1d(np.arange(shards.n_shards), done["index"])
    z = shards.merge(np.concatenate([done, shards.run(rest)]))
    assert z.value == log_partition(rbm, method=method).value


@pytest.mark.parametrize(
    "function", [log_partition, exact_moments, lambda m, **o: exact_sample(m, 3, **o)]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_callback_ends_every_method(function, method):
    """What returns True stops the run as Ctrl-C does."""
    rbm = by_method()[method]
    if method == "counts":
        rbm.visible.bias[...] = rbm.hidden.bias[...] = 0
    with pytest.raises(Interrupted, match="interrupted after"):
        function(rbm, callback=lambda state: True)


# -------------------------------------------------------------------------- sources of gradients


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ((Bernoulli(8), Bernoulli(6)), "split"),
        ((Spin(7), Spin(9)), "split"),
        ((Spin(20), Gaussian(8)), "pairwise"),
        ((Gaussian(8), Bernoulli(20)), "pairwise"),
        ((Spin(100), Gaussian(1)), "quadrature"),
        ((Gaussian(4), Gaussian(3)), "gaussian"),
    ],
)
def test_sources_follow_the_model(layers, name):
    rbm = RBM(*layers, rng=1, dtype="float64")
    source = gradient_source(rbm)
    assert source.name == name
    assert source.reason
    assert source.seconds > 0
    assert (source.split is not None) == (name == "split")
    out = np.empty(rbm.weights.shape), np.empty(rbm.n_visible), np.empty(rbm.n_hidden)
    for _ in range(2):
        log_z = source.fill(_lib.executor(), *out)
        m = exact_moments(rbm)
        assert log_z == pytest.approx(m.log_partition, abs=1e-11)
        for value, wanted in zip(out, (m.products, m.visible, m.hidden), strict=True):
            np.testing.assert_allclose(value, wanted, atol=1e-11)
        rbm.weights[...] *= 1.5
        rbm.visible.bias[...] += 0.1


def test_sources_refuse():
    with pytest.raises(TooLarge):
        gradient_source(RBM(Bernoulli(60), Bernoulli(60), rng=1), max_seconds=1.0)
    rbm = RBM(Gaussian(2), Gaussian(2), rng=1)
    source = gradient_source(rbm)
    rbm.weights[...] = 2.0
    with pytest.raises(ArithmeticError, match="positive definite"):
        source.fill(_lib.executor(), np.empty((2, 2)), np.empty(2), np.empty(2))


def test_draws_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    for n in (21, 22, 23, 24):  # where pairwise and quadrature cost about the same
        rbm = RBM(Spin(n, bias=0.1), Gaussian(1), weights=rng.normal(size=(n, 1)) * 0.1)
        one, two = (exact_sample(rbm, 5, rng=1, n_threads=k) for k in (1, 2))
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_moments_count_the_memory_of_all_they_give():
    rbm = RBM(Bernoulli(784), Bernoulli(10), rng=1)
    with pytest.raises(TooLarge, match="MB"):
        exact_moments(rbm, visible_products=True, method="split", max_bytes=20e6)
    exact_moments(rbm, method="split", max_bytes=20e6)


def test_means_of_fields_too_small_for_log_z():
    rbm = RBM(Spin(5, bias=1e-9), Gaussian(2), weights=np.ones((5, 2)) * [[0.5, 0.2]])
    tiny = exact_moments(rbm, method="pairwise")
    want = exact_moments(rbm, method="split")
    for name in ("visible", "hidden"):
        got = getattr(tiny, name)
        assert (got > 1e-9).all()
        np.testing.assert_allclose(got, getattr(want, name), atol=1e-15)


def test_dense_models_are_not_searched_for_an_order():
    rbm = RBM(Bernoulli(784), Bernoulli(28), rng=0)
    with pytest.raises(TooLarge, match="split"):
        exact_moments(rbm, max_seconds=0.1)
    with pytest.raises(TooLarge, match="elimination"):
        log_partition(RBM(Spin(1000), Spin(1000), rng=0), method="elimination")


def test_two_threads_of_python_may_share_shards():
    """One engine keeps one workspace: calls wait for each other instead of spoiling it."""
    rbm = RBM(Bernoulli(20), Bernoulli(24), weights=np.random.default_rng(1).normal(size=(20, 24)))
    shards = Shards(rbm, method="split")
    halves = np.array_split(np.arange(shards.n_shards), 2)
    with ThreadPoolExecutor(2) as pool:
        partials = list(pool.map(lambda part: shards.run(part, n_threads=1), halves))
    z = shards.merge(np.concatenate(partials))
    assert z.value == log_partition(rbm, method="split").value


@pytest.mark.parametrize("pair", [(Spin, Gaussian), (Spin, Spin), (Gaussian, Bernoulli)])
def test_log_weights_beyond_double_precision_are_refused(pair):
    weights = np.zeros((4, 3))
    weights[0, 0] = 1e200
    with pytest.raises(ValueError, match="1e\\+15"):
        log_partition(RBM(pair[0](4), pair[1](3), weights=weights))


def test_draws_count_as_memory():
    rbm = RBM(Bernoulli(784), Bernoulli(4), rng=1)
    with pytest.raises(TooLarge, match="max_bytes"):
        exact_sample(rbm, 50_000, rng=1, max_bytes=30e6)
