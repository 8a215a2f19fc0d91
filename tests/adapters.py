"""Between the oracle and the package: models, and the package's sampler in the oracle's form."""

from types import SimpleNamespace

import numpy as np
from reference import exact, layers

import fastrbm

DTYPES = ("float32", "float64")


def to_layer(layer, dtype="float64"):
    """The package's layer with the parameters of an oracle's layer."""
    if isinstance(layer, layers.Gaussian):
        bias, precision = (np.asarray(a, dtype) for a in (layer.bias, layer.precision))
        return fastrbm.Gaussian(layer.n, bias=bias, precision=precision)
    kind = {(0, 1): fastrbm.Bernoulli, (-1, 1): fastrbm.Spin}[layer.values]
    return kind(layer.n, bias=np.asarray(layer.bias, dtype))


def to_rbm(model, dtype="float64"):
    """The package's RBM of an oracle's model."""
    return fastrbm.RBM(
        to_layer(model.visible), to_layer(model.hidden), weights=model.weights, dtype=dtype
    )


def to_oracle(rbm):
    """The oracle's model of a package's RBM, with its parameters exactly."""
    sides = []
    for layer in (rbm.visible, rbm.hidden):
        parameters = {name: array.astype(float) for name, array in layer.parameters.items()}
        sides.append(getattr(layers, layer.unit)(**parameters))
    return exact.Model(*sides, rbm.weights.astype(float))


def stored(model, dtype):
    """The oracle's model with the parameters that an RBM of this dtype keeps of it."""
    return to_oracle(to_rbm(model, dtype))


def log_partition(dtype="float64", stored_as="float64", **options):
    """fastrbm.log_partition in the form that reference.proof takes; see `stored`."""

    def function(model, beta=1.0):
        return fastrbm.log_partition(to_rbm(model, stored_as), beta=beta, dtype=dtype, **options)

    return function


def moments(stored_as="float64", **options):
    """fastrbm.exact_moments with the names of reference.enumeration.FIELDS.

    Products of hidden units, which the package does not give, are left out, and so is the variance
    of the energy where beta is 0: the heat capacity does not tell it there.
    """

    def function(model, beta=1.0):
        m = fastrbm.exact_moments(
            to_rbm(model, stored_as),
            beta=beta,
            visible_products=True,
            heat_capacity=True,
            **options,
        )
        return SimpleNamespace(
            visible=m.visible,
            hidden=m.hidden,
            products=m.products,
            visible_products=m.visible_products,
            energy=m.energy,
            energy_variance=m.heat_capacity / beta**2 if beta else None,
            entropy=m.entropy,
        )

    return function


def exact_sampler(stored_as="float64", **options):
    """fastrbm.exact_sample in the form that reference.proof takes."""

    def draw(model, n, beta, seed):
        return fastrbm.exact_sample(to_rbm(model, stored_as), n, rng=seed, beta=beta, **options)

    return draw


def sampler(dtype="float32", n_threads=None):
    """fastrbm.sample in the form that reference.checks takes."""

    def sample(model, init, n_draws=1, burn_in=0, thin=1, beta=1.0, clamp=None, seed=0):
        result = fastrbm.sample(
            to_rbm(model, dtype), init=init, n_draws=n_draws, burn_in=burn_in, thin=thin,
            beta=beta, clamp=clamp, rng=seed, n_threads=n_threads,
        )  # fmt: skip
        return result.visible, result.hidden

    return sample


def random_model(visible, hidden, n_visible, n_hidden, seed=0, scale=None):
    """An oracle's model of any size with weights that keep fields of order one."""
    rng = np.random.default_rng(seed)
    scale = 0.7 / np.sqrt(max(n_visible, n_hidden)) if scale is None else scale
    sides = []
    for unit, n in ((visible, n_visible), (hidden, n_hidden)):
        bias = 0.3 * rng.standard_normal(n)
        more = {"precision": rng.uniform(0.8, 1.6, n)} if unit == "gaussian" else {}
        sides.append(getattr(layers, unit)(bias, **more))
    weights = scale * rng.standard_normal((n_visible, n_hidden))
    if visible == hidden == "gaussian":
        weights *= 0.4 / max(scale * (np.sqrt(n_visible) + np.sqrt(n_hidden)), 0.4)
    return exact.Model(*sides, weights)


def random_states(unit, n_rows, n, seed=0):
    """Independent states, float64 (n_rows, n)."""
    rng = np.random.default_rng(seed)
    if unit == "gaussian":
        return rng.standard_normal((n_rows, n))
    bits = rng.integers(2, size=(n_rows, n))
    return (2.0 * bits - 1.0) if unit == "spin" else bits.astype(float)
