"""Unit types from their definitions: a set of states, a log-weight, and sums over the states.

Units are independent given their input x: p(s | x) ~ exp(beta (log_weight(s) + x s)). All arrays
end in the unit axis. `Discrete` sums over its states and `Gaussian` completes the square.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp, ndtri

from . import philox

TWO_32 = 2.0**32


@dataclass(frozen=True)
class Discrete:
    """n units with the given values and log-weight bias * state."""

    values: tuple
    bias: np.ndarray

    @property
    def n(self):
        return len(self.bias)

    def log_weight(self, states):
        return self.bias * states

    def _log_terms(self, x, beta):
        return beta * (self.bias + x)[..., None] * np.array(self.values, float)

    def cgf(self, x, beta=1.0):
        return logsumexp(self._log_terms(x, beta), axis=-1)

    def probabilities(self, x, beta=1.0):
        """p(state | x), with the states on a new last axis."""
        return np.exp(self._log_terms(x, beta) - self.cgf(x, beta)[..., None])

    def mean(self, x, beta=1.0):
        return self.probabilities(x, beta) @ np.array(self.values, float)

    def variance(self, x, beta=1.0):
        """Half the mean squared difference of two draws: no cancellation."""
        p, values = self.probabilities(x, beta), np.array(self.values, float)
        squares = (values[:, None] - values) ** 2
        return np.einsum("...a,ab,...b->...", p, squares, p) / 2

    def words(self, key, purpose, step, rows):
        """The random words that the package draws these units from, (len(rows), n)."""
        return philox.bit_words(key, purpose, step, rows, self.n)

    def _threshold(self, x, beta):
        """2^32 p(high) and 2^32 p(rarer state), of which the second is cut to a whole number."""
        low, high = self.values
        log_odds = beta * (self.bias + x) * (high - low)
        rarer = np.floor(TWO_32 * expit(-np.abs(log_odds)))
        return np.where(log_odds < 0, rarer, TWO_32 - rarer), rarer

    def draw(self, x, beta, words):
        """One state a word: high where word < 2^32 p(high)."""
        low, high = self.values
        return np.where(words < self._threshold(x, beta)[0], float(high), float(low))

    def margin(self, x, beta, words):
        """How far the word is from its threshold, relative to p(rarer state): (rows, n)."""
        threshold, rarer = self._threshold(x, beta)
        return np.abs(words - threshold) / (rarer + 1.0)


@dataclass(frozen=True)
class Gaussian:
    """n real units with log-weight bias * h - precision * h^2 / 2."""

    bias: np.ndarray
    precision: np.ndarray

    @property
    def n(self):
        return len(self.bias)

    def log_weight(self, states):
        return self.bias * states - self.precision * np.square(states) / 2

    def cgf(self, x, beta=1.0):
        shift = beta * (self.bias + x) ** 2 / (2 * self.precision)
        return shift + np.log(2 * np.pi / (beta * self.precision)) / 2

    def mean(self, x, beta=1.0):
        return (self.bias + x) / self.precision

    def variance(self, x, beta=1.0):
        return np.broadcast_to(1 / (beta * self.precision), np.shape(x))

    def words(self, key, purpose, step, rows):
        """The random words that the package draws these units from, (len(rows), n)."""
        return philox.words(key, purpose, step, rows, self.n)

    def draw(self, x, beta, words):
        """One normal a word, by inversion at the middle of the word's interval."""
        z = ndtri((words + 0.5) / TWO_32)
        return self.mean(x, beta) + z * np.sqrt(self.variance(x, beta))


def bernoulli(bias):
    return Discrete((0, 1), np.asarray(bias, float))


def spin(bias):
    return Discrete((-1, 1), np.asarray(bias, float))


def gaussian(bias, precision=1.0):
    bias = np.asarray(bias, float)
    return Gaussian(bias, np.broadcast_to(np.asarray(precision, float), bias.shape))
