"""log Z and all moments by enumeration of one discrete layer, in more digits than float64 has.

The parameters are taken as stored (float64, or float32 widened) and nothing is approximated: the
states x of the enumerated layer are summed one by one, the units y_j of the other layer are summed
or integrated given x, where they are independent:

    Z = sum_x exp(beta sum_i a_i x_i) prod_j z_j(x),    z_j(x) = exp(cgf_j(sum_i x_i W_ij))

`enumerate_in_mpmath` is the definition, number by number, at 50 digits (up to 8 units or so).
`Enumeration` is the same in whole arrays of `wide` numbers, for 14 units in a tenth of a second.
"""

from functools import cached_property, lru_cache
from itertools import product
from types import SimpleNamespace

import mpmath
import numpy as np

from .layers import Discrete
from .wide import WIDE

DIGITS = 50
FIELDS = (
    "visible", "hidden", "products", "visible_products", "hidden_products",
    "energy", "energy_variance", "entropy",
)  # fmt: skip


def discrete_sides(model):
    return [side for side in ("visible", "hidden") if isinstance(getattr(model, side), Discrete)]


def smaller_side(model):
    """The discrete layer with fewer units; the visible one of two equals."""
    return min(discrete_sides(model), key=lambda side: getattr(model, side).n)


def sides_of(model, side):
    """(enumerated layer, other layer, weights with the enumerated units as rows)."""
    if side == "visible":
        return model.visible, model.hidden, np.asarray(model.weights, float)
    return model.hidden, model.visible, np.asarray(model.weights, float).T


# ------------------------------------------------------------------------- the definition, mpmath


def unit_in_mpmath(layer, j, field, beta):
    """z_j and the first two moments of y and of y's log-weight plus field * y, given the field."""
    if isinstance(layer, Discrete):
        t = mpmath.mpf(float(layer.bias[j])) + field
        weights = {value: mpmath.exp(beta * t * value) for value in layer.values}
        z = mpmath.fsum(weights.values())
        moment = [mpmath.fsum(w * s**k for s, w in weights.items()) / z for k in (1, 2)]
        return z, moment[0], moment[1], t * moment[0], t**2 * moment[1]
    t, gamma = mpmath.mpf(float(layer.bias[j])) + field, mpmath.mpf(float(layer.precision[j]))
    # exp(beta (t y - gamma y^2 / 2)) is a normal density around t / gamma, up to its integral.
    mean, variance = t / gamma, 1 / (beta * gamma)
    z = mpmath.sqrt(2 * mpmath.pi * variance) * mpmath.exp(beta * gamma * mean**2 / 2)
    third, fourth = mean**3 + 3 * mean * variance, mean**4 + 6 * mean**2 * variance
    second = mean**2 + variance
    fourth += 3 * variance**2
    energy = t * mean - gamma * second / 2
    square = t**2 * second - t * gamma * third + gamma**2 * fourth / 4
    return z, mean, second, energy, square


def enumerate_in_mpmath(model, beta=1.0, side=None, digits=DIGITS):
    """log Z, max |F| and all moments, from the definition. Entries are mpf or arrays of them."""
    side = side or smaller_side(model)
    layer, other, weights = sides_of(model, side)
    n, m = weights.shape
    with mpmath.workdps(digits):
        beta = mpmath.mpf(float(beta))
        bias = [mpmath.mpf(float(b)) for b in layer.bias]
        w = [[mpmath.mpf(float(x)) for x in row] for row in weights]
        total, largest = mpmath.mpf(0), mpmath.mpf(0)
        first, second = np.full(n, mpmath.mpf(0)), np.full(m, mpmath.mpf(0))
        cross, own = np.full((n, m), mpmath.mpf(0)), np.full((n, n), mpmath.mpf(0))
        others = np.full((m, m), mpmath.mpf(0))
        energy = energy_square = mpmath.mpf(0)
        for state in product(layer.values, repeat=n):
            x = np.array([mpmath.mpf(s) for s in state])
            a = mpmath.fsum(b * s for b, s in zip(bias, state, strict=True))
            units = [
                unit_in_mpmath(other, j, mpmath.fsum(w[i][j] * state[i] for i in range(n)), beta)
                for j in range(m)
            ]
            weight = mpmath.exp(beta * a) * mpmath.fprod(unit[0] for unit in units)
            largest = max(largest, abs(mpmath.log(weight)))
            mean = np.array([unit[1] for unit in units])
            outer = np.outer(mean, mean)
            outer[np.diag_indices(m)] = [unit[2] for unit in units]
            minus = mpmath.fsum(unit[3] for unit in units)  # of -E, without a
            spread = mpmath.fsum(unit[4] - unit[3] ** 2 for unit in units)
            total += weight
            first, second = first + weight * x, second + weight * mean
            cross, own = cross + weight * np.outer(x, mean), own + weight * np.outer(x, x)
            others = others + weight * outer
            energy -= weight * (a + minus)
            energy_square += weight * ((a + minus) ** 2 + spread)
        log_z, energy = mpmath.log(total), energy / total
        swap = side == "hidden"
        return SimpleNamespace(
            log_z=log_z,
            largest=largest,
            visible=(second if swap else first) / total,
            hidden=(first if swap else second) / total,
            products=(cross.T if swap else cross) / total,
            visible_products=(others if swap else own) / total,
            hidden_products=(own if swap else others) / total,
            energy=energy,
            energy_variance=energy_square / total - energy**2,
            entropy=log_z + beta * energy,
        )


# -------------------------------------------------------------------- the same in arrays, `wide`


def two_states(layer, fields, beta, numbers):
    """Of two-state units: exp(-|t|), t > 0 and t, the log-odds of the high state."""
    low, high = layer.values
    t = fields * numbers.array(beta) * float(high - low)
    return numbers.exp(-abs(t)), t > 0, t


def cgf_in_wide(layer, fields, beta, numbers=WIDE):
    """log z_j at fields (m, n) that have the layer's biases in them."""
    b = numbers.array(beta)
    if isinstance(layer, Discrete):
        q, up, t = two_states(layer, fields, beta, numbers)
        lowest = fields * b * float(layer.values[0]) + numbers.where(up, t, t * 0.0)
        return lowest + numbers.log(q + 1.0)
    gamma = numbers.array(layer.precision)
    square = fields * fields * b / (gamma * 2.0)
    return square + numbers.log(numbers.pi() * 2.0 / (b * gamma)) / 2.0


class Enumeration:
    """One model at one beta; states are numbered by bits, bit i = unit i of the layer is high."""

    def __init__(self, model, beta=1.0, side=None, numbers=WIDE):
        self.side = side or smaller_side(model)
        self.layer, self.other, self.weights = sides_of(model, self.side)
        self.beta, self.numbers = float(beta), numbers
        self.n, self.m = self.weights.shape

    def _over_states(self, base, rows):
        """base + sum_i x_i rows_i for every state, by doubling: (2^n, ...)."""
        low, high = self.layer.values
        array, concatenate = self.numbers.array, self.numbers.concatenate
        sums = array(base)[None] + self.numbers.sum(array(low * rows), 0)[None]
        for row in rows:
            sums = concatenate([sums, sums + array((high - low) * row)[None]])
        return sums

    @cached_property
    def fields(self):
        """b_j + sum_i x_i W_ij: (2^n, m)."""
        return self._over_states(self.other.bias, self.weights)

    @cached_property
    def own(self):
        """sum_i a_i x_i: (2^n,)."""
        return self._over_states(np.zeros(1), np.asarray(self.layer.bias, float)[:, None])[:, 0]

    @cached_property
    def log_weights(self):
        """The log of each state's weight, -F: (2^n,)."""
        cgf = cgf_in_wide(self.other, self.fields, self.beta, self.numbers)
        return self.own * self.numbers.array(self.beta) + self.numbers.sum(cgf, 1)

    @cached_property
    def largest(self):
        """max |F|, a float."""
        return float(np.abs(self.numbers.to_float(self.log_weights)).max())

    @cached_property
    def _summed(self):
        """(log of the heaviest weight, all weights relative to it, their sum)."""
        heaviest = int(self.numbers.to_float(self.log_weights).argmax())
        top = self.log_weights[heaviest]
        weights = self.numbers.exp(self.log_weights - top)
        return top, weights, self.numbers.sum(weights, 0)

    @cached_property
    def log_z(self):
        """log Z, one wide number."""
        top, _, total = self._summed
        return top + self.numbers.log(total)

    @cached_property
    def probabilities(self):
        """(2^n,) wide."""
        _, weights, total = self._summed
        return weights / total

    @cached_property
    def states(self):
        """(2^n, n) float64."""
        low, high = self.layer.values
        bits = np.arange(2**self.n)[:, None] >> np.arange(self.n) & 1
        return low + (high - low) * bits.astype(float)

    @cached_property
    def _given(self):
        """Of every unit of the other layer, given the state: mean and variance of y, (2^n, m);
        mean and variance of -E without the enumerated layer's own part, (2^n,)."""
        numbers, beta = self.numbers, self.numbers.array(self.beta)
        if isinstance(self.other, Discrete):
            low, high = self.other.values
            q, up, _ = two_states(self.other, self.fields, self.beta, numbers)
            likely = 1.0 / (q + 1.0)
            mean = numbers.where(up, likely, q * likely) * float(high - low) + float(low)
            variance = q * likely * likely * float(high - low) ** 2
            return (
                mean,
                variance,
                numbers.sum(self.fields * mean, 1),
                numbers.sum(self.fields * self.fields * variance, 1),
            )
        gamma = numbers.array(self.other.precision)
        mean = self.fields / gamma
        variance = 1.0 / (beta * gamma)
        # t y - gamma y^2 / 2 = gamma mean^2 / 2 - gamma (y - mean)^2 / 2
        energy = numbers.sum(gamma * mean * mean / 2.0 - 1.0 / (beta * 2.0), 1)
        spread = numbers.sum(mean * 0.0 + 1.0 / (beta * beta * 2.0), 1)
        return mean, mean * 0.0 + variance, energy, spread

    @cached_property
    def moments(self):
        """All fields of FIELDS as float64 (they are compared with float64 results)."""
        numbers, p = self.numbers, self.probabilities
        mean, variance, energy, spread = self._given
        low, high = self.layer.values

        def weighted(columns):
            """sum_x p(x) columns[x, :]"""
            return numbers.sum(p[:, None] * columns, 0)

        def with_states(columns):
            """sum_x p(x) x_i columns[x, :], (n, k): the whole sum and that over x_i = high."""
            rows = []
            everything = weighted(columns)
            for i in range(self.n):
                up = self.states[:, i] == high
                above = numbers.sum(p[up][:, None] * columns[up], 0)
                rows.append((everything * float(low) + above * float(high - low))[None])
            return numbers.concatenate(rows)

        ones = numbers.array(np.ones((2**self.n, 1)))
        cross, first, second = with_states(mean), with_states(ones)[:, 0], weighted(mean)
        own = with_states(numbers.array(self.states))
        rows = [weighted(mean * mean[:, [j]])[None] for j in range(self.m)]
        others = numbers.concatenate(rows)
        diagonal = np.eye(self.m, dtype=bool)
        others = numbers.where(diagonal, others + weighted(variance)[None], others)
        minus = self.own + energy
        average = numbers.sum(p * minus, 0)
        centred = minus - average
        result = {
            "visible": first,
            "hidden": second,
            "products": cross,
            "visible_products": own,
            "hidden_products": others,
            "energy": -average,
            "energy_variance": numbers.sum(p * (centred * centred + spread), 0),
            "entropy": self.log_z - average * numbers.array(self.beta),
        }
        if self.side == "hidden":
            for a, b in (("visible", "hidden"), ("visible_products", "hidden_products")):
                result[a], result[b] = result[b], result[a]
            result["products"] = result["products"].T
        return SimpleNamespace(**{name: numbers.to_float(value) for name, value in result.items()})

    def error_of(self, value):
        """|value - log Z|, a float; value a float64."""
        return abs(float(self.numbers.to_float(self.log_z - float(value))))


@lru_cache(maxsize=256)
def enumerate_model(model, beta=1.0, side=None):
    """The Enumeration of a model, kept for the next test that needs it."""
    return Enumeration(model, beta, side)
