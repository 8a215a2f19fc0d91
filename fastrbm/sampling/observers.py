"""Observers: statistics that are carried along a run instead of storing every draw.

An observer is any object with three methods:

    start(rbm, n_chains, beta)   once, before the first observation
    update(visible, hidden)      after each observed sweep; arrays (n_chains, n_units) in the
                                 model's dtype, which the run writes over afterwards
    result()                     the statistics; `sample` returns them in ``.observations``

An observer that is handed to a second run starts anew.
"""

import dataclasses

import numpy as np

from .. import validation


@dataclasses.dataclass(frozen=True)
class MomentsResult:
    """Means over chains and observations of one run; all float64.

    Attributes
    ----------
    visible : ndarray (n_visible,)
        <v_i>.
    hidden : ndarray (n_hidden,)
        <h_mu>.
    products : ndarray (n_visible, n_hidden)
        <v_i h_mu>.
    visible_products : ndarray (n_visible, n_visible) or None
        <v_i v_j>, where asked.
    n_states : int
        The number of joint states averaged: chains times observations.

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2, bias=40.0), fastrbm.Spin(1), weights=[[0.0], [0.0]])
    >>> run = fastrbm.sample(rbm, n_chains=4, n_draws=5, observers=[fastrbm.Moments()], rng=1)
    >>> run.observations[0].visible.tolist(), run.observations[0].n_states
    ([1.0, 1.0], 20)
    """

    visible: np.ndarray
    hidden: np.ndarray
    products: np.ndarray
    visible_products: np.ndarray | None
    n_states: int

    def __repr__(self):
        n_visible, n_hidden = self.products.shape
        return f"MomentsResult({n_visible} x {n_hidden} units, {self.n_states} states)"


class Moments:
    """Observer of first moments and products: <v>, <h>, <v h>, and <v v> where asked.

    Sums are kept in float64; for discrete units they are integers and exact up to 2^53. One
    update costs O(n_chains n_visible n_hidden), as much as a half-sweep without bits.

    Parameters
    ----------
    visible_products : bool, default False
        Also accumulate <v_i v_j>, at O(n_chains n_visible^2).

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2), fastrbm.Spin(1), weights=[[40.0], [40.0]])
    >>> moments = fastrbm.Moments(visible_products=True)
    >>> run = fastrbm.sample(rbm, n_chains=4, n_draws=3, observers=[moments], rng=1)
    >>> moments.result().products.tolist()
    [[1.0], [1.0]]
    >>> moments.result().visible_products.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, *, visible_products=False):
        self._with_visible = validation.flag("visible_products", visible_products)
        self._n = 0

    def start(self, rbm, n_chains, beta):
        """Set all sums to zero."""
        self._n = 0
        self._visible = np.zeros(rbm.n_visible)
        self._hidden = np.zeros(rbm.n_hidden)
        self._products = np.zeros((rbm.n_visible, rbm.n_hidden))
        self._visible_products = None
        if self._with_visible:
            self._visible_products = np.zeros((rbm.n_visible, rbm.n_visible))

    def update(self, visible, hidden):
        """Add the states of all chains."""
        v, h = visible.astype(np.float64), hidden.astype(np.float64)
        self._n += len(v)
        self._visible += v.sum(axis=0)
        self._hidden += h.sum(axis=0)
        self._products += v.T @ h
        if self._with_visible:
            self._visible_products += v.T @ v

    def result(self):
        """Return the means so far as a `MomentsResult`; NaN before the first observation."""
        n = self._n or np.nan
        pairs = None if self._visible_products is None else self._visible_products / n
        return MomentsResult(
            self._visible / n, self._hidden / n, self._products / n, pairs, self._n
        )


class Energies:
    """Observer of the energy E(v, h) of every chain at every observation.

    The result is an array (n_chains, n_observations), float64, without beta: ArviZ's order, ready
    for an autocorrelation time, or for a heat capacity as ``beta**2 * energies.var()``.

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(2, bias=40.0), fastrbm.Spin(1), weights=[[0.0], [0.0]])
    >>> run = fastrbm.sample(rbm, n_chains=2, n_draws=3, observers=[fastrbm.Energies()], rng=1)
    >>> run.observations[0].tolist()
    [[-80.0, -80.0, -80.0], [-80.0, -80.0, -80.0]]
    """

    def __init__(self):
        self._energies = []
        self._n_chains = 0

    def start(self, rbm, n_chains, beta):
        """Forget the energies of a former run."""
        self._rbm = rbm
        self._n_chains = n_chains
        self._energies = []

    def update(self, visible, hidden):
        """Record the energy of every chain."""
        self._energies.append(self._rbm.energy(visible, hidden))

    def result(self):
        """Return the energies so far, (n_chains, n_observations)."""
        if not self._energies:
            return np.empty((self._n_chains, 0))
        return np.stack(self._energies, axis=1)


def check_observers(observers):
    """Return `observers` as a tuple of objects with start, update and result.

    Examples
    --------
    >>> from fastrbm.sampling.observers import check_observers
    >>> check_observers(["energy"])
    Traceback (most recent call last):
    TypeError: observers must have the methods start, update and result, got 'energy'
    """
    try:
        observers = tuple(observers)
    except TypeError:
        raise TypeError(f"observers must be a sequence of observers, got {observers!r}") from None
    for observer in observers:
        methods = (getattr(observer, name, None) for name in ("start", "update", "result"))
        if isinstance(observer, type) or not all(callable(method) for method in methods):
            raise TypeError(
                f"observers must have the methods start, update and result, got {observer!r}"
            )
    return observers
