"""The exact methods in NumPy, as readable as they can be, and the same with errors put in.

    pairwise(model, beta)     Gaussian units integrated, then the product of three panels in shards,
                              with the certificate against underflow
    split(model, beta)        one discrete layer in two halves, a product of (1 + X Y) over units

    moments(model, beta)      sums over one layer's states
    sample(model, n, beta)    inverse CDF over one layer's states, then the other layer

The first two return an `Answer`: log Z and a bound on its error. The `..._MUTANTS` are these with
one thing wrong: what proves the package right must prove each of them wrong.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise as pairwise_of
from types import SimpleNamespace

import numpy as np

from .enumeration import sides_of, smaller_side
from .exact import all_states
from .layers import Discrete, Gaussian

U = 2.0**-53
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class Answer:
    value: float
    error: float


# ------------------------------------------------------------------- Gaussian units integrated


def reduced(
    model, beta, *, field_sign=1.0, diagonal=True, normal_constant=True, bias_constant=True,
    precision=True, beta_of_bias=True, beta_of_normal=True,
):  # fmt: skip
    """(linear, coupling, values, constant) of the pairwise model in the discrete units.

    The keywords are for mutants.
    """
    if isinstance(model.visible, Gaussian):
        model = model.swapped()
    layer, gaussian, w = model.visible, model.hidden, model.weights
    gamma = gaussian.precision if precision else np.ones_like(gaussian.precision)
    b = gaussian.bias
    coupling = beta * (w / gamma) @ w.T
    linear = (beta if beta_of_bias else 1.0) * layer.bias + field_sign * beta * (w / gamma) @ b
    constant = 0.0
    if normal_constant:
        constant += (np.log(2 * np.pi / ((beta if beta_of_normal else 1.0) * gamma)) / 2).sum()
    if bias_constant:
        constant += (beta * b**2 / (2 * gamma)).sum()
    if diagonal and layer.values == (0, 1):
        linear = linear + np.diag(coupling) / 2
    elif diagonal:
        constant += np.trace(coupling) / 2
    return linear, coupling, layer.values, constant


def panels(linear, coupling, values):
    """Log-weights F (a, b), G (b, c), H (c, a) of three groups, each with its first group's own."""
    n = len(linear)
    cuts = [0, (n + 2) // 3, (2 * n + 2) // 3, n]
    groups = [slice(i, j) for i, j in pairwise_of(cuts)]
    states = [all_states(values, g.stop - g.start) for g in groups]

    def panel(i, j):
        x, y, gi, gj = states[i], states[j], groups[i], groups[j]
        own = x @ linear[gi] + np.einsum("si,ij,sj->s", x, np.triu(coupling[gi, gi], 1), x)
        return own[:, None] + x @ coupling[gi, gj] @ y.T

    return panel(0, 1), panel(1, 2), panel(2, 0)


def certified(f, g, h, most_lost):
    """log of sum_abc exp(f_ab + g_bc + h_ca) over one block of c, halved until nothing is lost.

    Rows and columns are shifted by their maxima; entries below the normal numbers may be lost.
    """
    row, column = g.max(1), h.max(0)
    outer = f + row + column[:, None]
    top = outer.max()
    scale = np.exp(outer - top)
    product = np.exp(g - row[:, None]) @ np.exp(h - column)
    total = (scale * product.T).sum()
    lost = top + np.log(TINY * g.shape[1] * scale.sum())
    if lost <= most_lost or g.shape[1] == 1:
        return top + np.log(total) if total > 0 else -np.inf
    half = g.shape[1] // 2
    return np.logaddexp(
        certified(f, g[:, :half], h[:half], most_lost),
        certified(f, g[:, half:], h[half:], most_lost),
    )


def uncertified(f, g, h, most_lost):
    """The same without looking at what underflowed."""
    return certified(f, g, h, np.inf)


def merged(log_parts):
    """log of the sum, in an order that does not matter to the last bits it keeps."""
    top = max(log_parts)
    if not np.isfinite(top):
        return top
    return top + np.log(np.exp(np.sort(np.array(log_parts)) - top).sum())


def pairwise(
    model, beta=1.0, *, block=certified, drop=None, half=None, error=1.0, **options
):  # fmt: skip
    """log Z by the product of three panels. block, drop, half, error are for mutants."""
    linear, coupling, values, constant = reduced(model, beta, **options)
    f, g, h = panels(linear, coupling, values)
    size = max(abs(values[0]), abs(values[1]))
    exponents = np.abs(linear).sum() * size + np.abs(np.triu(coupling, 1)).sum() * size**2
    symmetric = values == (-1, 1) and not linear.any()
    if half is not None:
        symmetric = half(model)
    if symmetric:  # the first unit, which varies slowest in a, is fixed
        f, h = f[: len(f) // 2], h[:, : h.shape[1] // 2]
        constant += np.log(2.0)
    log_z_bound = (f[:, :, None] + g + h.T[:, None, :]).max()  # at most log Z
    shards = [
        (slice(i, i + 1), slice(j, j + 4)) for i in range(len(f)) for j in range(0, len(g), 4)
    ]
    parts = [block(f[a, b], g[b], h[:, a], log_z_bound - 50) for a, b in shards]
    if drop is not None:
        parts.pop(drop)
    value = merged(parts) + constant
    rounding = (len(linear) + 16) * U * (exponents + abs(constant)) + 1e3 * U
    return Answer(value, error * rounding)


PAIRWISE_MUTANTS = {
    "theta of the wrong sign": partial(pairwise, field_sign=-1.0),
    "theta without the hidden biases": partial(pairwise, field_sign=0.0),
    "the diagonal forgotten": partial(pairwise, diagonal=False),
    "2 pi dropped": partial(pairwise, normal_constant=False),
    "the constant of the hidden biases dropped": partial(pairwise, bias_constant=False),
    "precisions taken as one": partial(pairwise, precision=False),
    "beta not on the biases": partial(pairwise, beta_of_bias=False),
    "beta not on the normal constant": partial(pairwise, beta_of_normal=False),
    "the first shard dropped": partial(pairwise, drop=0),
    "the last shard dropped": partial(pairwise, drop=-1),
    "half the states though there is a field": partial(pairwise, half=lambda model: True),
    "half the states where the discrete biases are zero": partial(
        pairwise, half=lambda model: not sides_of(model, smaller_side(model))[0].bias.any()
    ),
    "underflow ignored": partial(pairwise, block=uncertified),
}


# ---------------------------------------------------------------------------- the split product


def split(
    model, beta=1.0, side=None, *, limit=700.0, every=None, spin_factor=True, low=None,
    own_bias=True, other_bias=True, drop=None, overlap=False, gaussian_integral=True,
):  # fmt: skip
    """log Z by half-state tables. The keywords after side are for mutants."""
    layer, other, weights = sides_of(model, side or smaller_side(model))
    values = layer.values if low is None else (low, layer.values[1])
    cut = layer.n // 2
    halves = [slice(0, cut + overlap), slice(cut, layer.n)]
    a, b = (all_states(values, half.stop - half.start) for half in halves)
    bias = beta * layer.bias * own_bias
    log_weight = (a @ bias[halves[0]])[:, None] + b @ bias[halves[1]]
    other_biases = other.bias if other_bias else np.zeros(other.n)
    x = beta * (other_biases + a @ weights[halves[0]])
    y = beta * (b @ weights[halves[1]])
    if isinstance(other, Discrete):
        log_weight = log_weight + _two_state_product(x, y, other.values, limit, every, spin_factor)
    else:
        t = (x[:, None] + y[None]) / beta
        gaussian = replace(other, bias=np.zeros(other.n))
        cgf = gaussian.cgf(t, beta)
        if not gaussian_integral:
            cgf = beta * t**2 / 2
        log_weight = log_weight + cgf.sum(-1)
    parts = [merged(row) for row in log_weight]
    if drop is not None:
        parts.pop(drop)
    size = np.abs(log_weight).max() + other.n
    return Answer(merged(parts), (layer.n + other.n + 16) * U * size + 64 * U)


def _two_state_product(x, y, values, limit, every, spin_factor):
    """sum_j log(exp(low t) + exp(high t)), t = x_aj + y_bj, by products of (1 + X Y)."""
    low, high = values
    span = high - low
    total = np.zeros((len(x), len(y)))
    product, bound, count = np.ones_like(total), 0.0, 0
    for xj, yj in zip(x.T, y.T, strict=True):
        if low and spin_factor:
            total += low * (xj[:, None] + yj)
        t = span * (xj[:, None] + yj)
        unit = max(0.0, t.max()) + np.log(2.0)
        full = bound + unit > limit if every is None else count == every
        if full:
            with np.errstate(divide="ignore"):
                total += np.log(product)
            product, bound, count = np.ones_like(total), 0.0, 0
        if unit > limit and every is None:
            total += np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t)))
            continue
        middle = (xj.max() - yj.max()) / 2  # both tables get the same maximum
        with np.errstate(over="ignore", invalid="ignore"):
            left, right = np.exp(span * (xj - middle)), np.exp(span * (yj + middle))
            product = product * (1.0 + np.outer(left, right))
        bound, count = bound + unit, count + 1
    with np.errstate(divide="ignore"):
        return total + np.log(product)


SPLIT_MUTANTS = {
    "rescaled by a count": partial(split, every=16),
    "the factor exp(-x - y) of a spin dropped": partial(split, spin_factor=False),
    "spins taken as 0 and 1": partial(split, low=0),
    "the enumerated layer's biases dropped": partial(split, own_bias=False),
    "the other layer's biases dropped": partial(split, other_bias=False),
    "the first shard dropped": partial(split, drop=0),
    "a unit in both halves": partial(split, overlap=True),
    "the Gaussian integral's constant dropped": partial(split, gaussian_integral=False),
}


# --------------------------------------------------------------------------------------- moments


def moments(
    model, beta=1.0, *, hard=False, own_variance=True, spread=True, energy_beta=True,
    reduced_energy=False, transposed=False, sign=1.0, uniform=False,
):  # fmt: skip
    """The fields of enumeration.FIELDS by sums over one layer. The keywords are for mutants."""
    side = smaller_side(model)
    layer, other, weights = sides_of(model, side)
    x = all_states(layer.values, layer.n)
    field = x @ weights
    log_p = beta * (x @ layer.bias) + other.cgf(field, beta).sum(-1)
    log_z = merged(log_p)
    p = np.exp(log_p - log_z)
    if uniform:
        p = np.full_like(p, 1 / len(p))
    mean, variance = other.mean(field, beta), other.variance(field, beta)
    if hard:
        mean = np.where(mean > np.mean(getattr(other, "values", 0.0)), 1.0, 0.0)
    t = other.bias + field
    if isinstance(other, Discrete):
        energy, energy_variance = (t * mean).sum(1), (t**2 * variance).sum(1)
    else:
        energy = (t**2 / (2 * other.precision) - 0.5 / beta).sum(1)
        energy_variance = np.full(len(x), 0.5 * other.n / beta**2)
        if reduced_energy:
            energy, energy_variance = energy + 0.5 * other.n / beta, 0 * energy_variance
    energy = -(x @ layer.bias + energy)
    average = p @ energy
    own, others = (x.T * p) @ x, (mean.T * p) @ mean
    if own_variance:
        others = others + np.diag(p @ variance)
    first, second, products = p @ x, p @ mean, sign * (x.T * p) @ mean
    if side == "hidden":
        first, second, own, others, products = second, first, others, own, products.T
    return SimpleNamespace(
        visible=first,
        hidden=second,
        products=products.T if transposed else products,
        visible_products=own,
        hidden_products=others,
        energy=average,
        energy_variance=p @ (energy - average) ** 2 + (p @ energy_variance if spread else 0.0),
        entropy=log_z + (beta if energy_beta else 1.0) * average,
    )


MOMENT_MUTANTS = {
    "the likelier state in place of the mean": partial(moments, hard=True),
    "no variance on the diagonal of products": partial(moments, own_variance=False),
    "the energy's variance given a state forgotten": partial(moments, spread=False),
    "the energy of the reduced model": partial(moments, reduced_energy=True),
    "entropy without beta": partial(moments, energy_beta=False),
    "products of the wrong sign": partial(moments, sign=-1.0),
    "products transposed": partial(moments, transposed=True),
    "all states alike": partial(moments, uniform=True),
}


# ---------------------------------------------------------------------------------------- samples


def sample(
    model, n, beta=1.0, seed=0, *, shift=0, mean=False, same_uniform=False, beta_forgotten=False,
    paired=False, sorted_draws=False, chain=False, any_seed=False, rolled=False,
):  # fmt: skip
    """Inverse CDF over the states of one layer, then the other given it: v, h (n, units)."""
    side = smaller_side(model)
    layer, other, weights = sides_of(model, side)
    rng = np.random.default_rng(0 if any_seed else seed)
    x = all_states(layer.values, layer.n)
    at = 1.0 if beta_forgotten else beta
    log_p = at * (x @ layer.bias) + other.cgf(x @ weights, at).sum(-1)
    cdf = np.cumsum(np.exp(log_p - merged(log_p)))
    u = rng.random(n)
    if paired:
        u = np.repeat(u[::2], 2)[:n]
    if sorted_draws:
        u = np.sort(u)
    if chain:
        u = u[np.maximum.accumulate(np.where(rng.random(n) < 0.5, np.arange(n), 0))]
    drawn = (np.searchsorted(cdf, u * cdf[-1], side="right") + shift) % len(x)
    states = x[drawn]
    field = states @ weights
    words = rng.integers(2**32, size=(n, other.n))
    if same_uniform:
        words = np.broadcast_to((u * 2**32).astype(np.int64)[:, None], words.shape)
    y = other.mean(field, beta) if mean else other.draw(field, beta, words)
    if rolled:
        y = np.roll(y, 1, axis=0)
    return (y, states) if side == "hidden" else (states, y)


SAMPLE_MUTANTS = {
    "the next state": partial(sample, shift=1),
    "means in place of draws": partial(sample, mean=True),
    "one uniform for both layers": partial(sample, same_uniform=True),
    "beta forgotten in the states' law": partial(sample, beta_forgotten=True),
    "neighbours draw the same state": partial(sample, paired=True),
    "draws in order": partial(sample, sorted_draws=True),
    "a chain that often stays": partial(sample, chain=True),
    "one seed for every call": partial(sample, any_seed=True),
    "the other layer of another row": partial(sample, rolled=True),
}
