"""What an exact log Z must satisfy; every check takes the function (model, beta) -> Answer.

    |value - log Z| <= 1e-13 max(1, max |F|),  F the free energies of the enumerated layer's states,
    |value - log Z| <= error,                  the bound that comes with the value.

`excess` is the larger quotient of both: more than 1 fails, and so does what is not a number.
"""

import math
from dataclasses import replace

import numpy as np

from .checks import chi_square, gaussian_law, worst
from .enumeration import FIELDS, enumerate_model
from .exact import solve
from .layers import Gaussian

RULE = 1e-13
SIDES = ("visible", "hidden")
SCALES = (1e-3, 1.0, 30.0, 1000.0)  # of the weights


def excess(function, model, beta=1.0, side=None, rule=RULE):
    """The worst of both quotients; side: which layer's F (None: the smaller discrete one)."""
    answer = function(model, beta)
    oracle = enumerate_model(model, beta, side)
    value, bound = float(answer.value), float(answer.error)
    if not (math.isfinite(value) and math.isfinite(bound) and bound >= 0):
        return math.inf
    error = oracle.error_of(value)
    own = 100 * oracle.numbers.epsilon * max(1.0, oracle.largest)  # the oracle's rounding
    outside = max(0.0, error - own) / bound if bound else (math.inf if error > own else 0.0)
    return max(error / (rule * max(1.0, oracle.largest)), outside)


def moments_excess(function, model, beta=1.0, fields=FIELDS):
    """The worst quotient of |moment - oracle| by what the rule leaves it, over the named fields.

    If every state's log-weight is known to RULE max(1, max |F|), its probability is so relatively,
    and the mean of s moves by at most that times the mean of |s - <s>|, or the root of its
    variance; 1 is added for the rounding of s itself. A field that is None or NaN fails.
    """
    answer, truth = function(model, beta), enumerate_model(model, beta)
    moments, size = truth.moments, max(1.0, truth.largest)
    root = {side: np.sqrt(np.diag(getattr(moments, f"{side}_products"))) for side in SIDES}
    both = np.maximum(root["visible"][:, None], 1.0) * np.maximum(root["hidden"], 1.0)
    spread = {
        "visible": root["visible"],
        "hidden": root["hidden"],
        "products": both,
        "visible_products": 2 * np.outer(root["visible"], root["visible"]),
        "hidden_products": 2 * np.outer(root["hidden"], root["hidden"]),
        "energy": np.sqrt(moments.energy_variance),
        "energy_variance": 2 * moments.energy_variance + 2 * np.sqrt(moments.energy_variance),
        "entropy": beta * np.sqrt(moments.energy_variance) + 1.0,
    }
    most = 0.0
    for name in fields:
        value = getattr(answer, name)
        if value is None or np.shape(value) != np.shape(getattr(moments, name)):
            return math.inf
        error = np.abs(value - getattr(moments, name)) / (2 * RULE * size * (spread[name] + 1.0))
        most = max(most, float(np.where(np.isnan(error), np.inf, error).max()))
    return most


def sample_p_value(sampler, model, n, beta=1.0, seed=1):
    """p-value of independent draws from the joint law; sampler(model, n, beta, seed) -> v, h.

    Joint (v, h) cells; cells of neighbouring rows, of rows half the draws apart and of two seeds,
    which must be independent; for a Gaussian layer the law of each unit given the other layer.
    """
    exact = solve(model, beta)
    v, h = (np.asarray(a, float) for a in sampler(model, n, beta, seed))
    other_v, other_h = (np.asarray(a, float) for a in sampler(model, n, beta, seed + 1))
    if v.shape != (n, model.visible.n) or h.shape != (n, model.hidden.n):
        return 0.0
    law = exact.joint_cells().ravel()
    cells = exact.v.cells_of(v) * exact.h.n_cells + exact.h.cells_of(h)
    second = exact.v.cells_of(other_v) * exact.h.n_cells + exact.h.cells_of(other_h)
    p_values = [chi_square(cells, law), chi_square(second, law)]
    # The law's cells in at most 16 groups of about equal mass: pairs of them are not too rare.
    order = np.argsort(-law, kind="stable")
    group = np.empty(len(law), int)
    group[order] = np.minimum((np.cumsum(law[order]) / law.sum() * 16).astype(int), 15)
    mass = np.bincount(group, law, 16)
    cross = np.outer(mass, mass).ravel()
    g, other = group[cells], group[second]
    half = n // 2
    p_values.append(chi_square(g[0 : 2 * half : 2] * 16 + g[1 : 2 * half : 2], cross))
    p_values.append(chi_square(g[:half] * 16 + g[half : 2 * half], cross))
    p_values.append(chi_square(g * 16 + other, cross))
    for layer, own, field in (
        (model.visible, v, h @ model.weights.T),
        (model.hidden, h, v @ model.weights),
    ):
        if isinstance(layer, Gaussian):
            z = (own - layer.mean(field, beta)) / np.sqrt(layer.variance(field, beta))
            p_values += gaussian_law(z, np.zeros(layer.n), np.eye(layer.n))
    return worst(p_values)


def scaled(model, factor):
    return replace(model, weights=factor * model.weights)


def without_discrete_bias(model):
    """The field on the discrete units comes from the Gaussian layer's biases alone."""
    side = "hidden" if isinstance(model.visible, Gaussian) else "visible"
    layer = getattr(model, side)
    return replace(model, **{side: replace(layer, bias=np.zeros(layer.n))})


def with_cancelled_field(model):
    """Discrete biases a = -W b / gamma against a Gaussian layer: no field is left (for spins)."""
    if isinstance(model.visible, Gaussian):
        return with_cancelled_field(model.swapped()).swapped()
    field = (model.weights / model.hidden.precision) @ model.hidden.bias
    return replace(model, visible=replace(model.visible, bias=-field))


def permuted(model, rng):
    """Both layers in another order: log Z stays."""
    rows, columns = rng.permutation(model.visible.n), rng.permutation(model.hidden.n)
    sides = {}
    for side, order in (("visible", rows), ("hidden", columns)):
        layer = getattr(model, side)
        arrays = {"bias": layer.bias[order]}
        if isinstance(layer, Gaussian):
            arrays["precision"] = layer.precision[order]
        sides[side] = replace(layer, **arrays)
    return replace(model, weights=model.weights[rows][:, columns], **sides), rows, columns


def flipped(model, rng):
    """A gauge: signs of random units of symmetric layers (spins, Gaussians) turned; log Z stays.

    Returns the model and the signs of both layers; all ones for Bernoulli units.
    """
    signs, sides = {}, {}
    for side in ("visible", "hidden"):
        layer = getattr(model, side)
        even = isinstance(layer, Gaussian) or layer.values == (-1, 1)
        signs[side] = rng.choice([-1.0, 1.0], layer.n) if even else np.ones(layer.n)
        sides[side] = replace(layer, bias=layer.bias * signs[side])
    weights = signs["visible"][:, None] * model.weights * signs["hidden"]
    return replace(model, weights=weights, **sides), signs["visible"], signs["hidden"]


def exchanged(model, rng):
    """A gauge of Bernoulli units, v -> 1 - v for random visible ones: (model, shift of log Z).

    v W h + a v becomes (W h + a) - v' W h - a v': the hidden biases and a constant take it up.
    """
    turned = rng.integers(2, size=model.visible.n).astype(bool)
    signs = np.where(turned, -1.0, 1.0)
    visible = replace(model.visible, bias=signs * model.visible.bias)
    hidden = replace(model.hidden, bias=model.hidden.bias + model.weights[turned].sum(0))
    shift = model.visible.bias[turned].sum()
    return replace(
        model, visible=visible, hidden=hidden, weights=signs[:, None] * model.weights
    ), shift
