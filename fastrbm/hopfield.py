"""Hopfield networks as RBMs: stored patterns become the weights of Gaussian hidden units.

With H(s) = -1/2 s^T J s and p(s) ~ exp(-beta H), integrating the hidden units of an
RBM(Spin, Gaussian) with W W^T = beta J gives H back, up to the constant beta tr J / 2 of the
diagonal. A. Barra, A. Bernacchia, E. Santucci and P. Contucci, "On the equivalence of Hopfield
networks and Boltzmann machines", Neural Networks 34 (2012); for the projection rule L. Personnaz,
I. Guyon and G. Dreyfus, J. Physique Lett. 46 (1985).
"""

import warnings

import numpy as np

from . import validation
from .errors import DependentPatternsWarning
from .layers import Gaussian, Spin
from .model import RBM


def from_patterns(patterns, *, rule="projection", beta=1.0, dtype="float64"):
    """Return the RBM of a Hopfield network that stores patterns.

    Parameters
    ----------
    patterns : array_like (n_patterns, n_units) or (n_units,)
        Of -1 and +1; P below.
    rule : {"projection", "hebb"}
        "hebb": J = P^T P / N, W = sqrt(beta / N) P^T. "projection": J = P^T (P P^T)^+ P,
        W = sqrt(beta) P^T ((P P^T)^+)^(1/2), which stores independent patterns without cross-talk.
    beta : float, default 1.0
        Inverse temperature, > 0, contained in the weights.
    dtype : {float64, float32}
        Of the model.

    Returns
    -------
    RBM
        ``RBM(Spin(n_units), Gaussian(n_patterns))`` without biases, unit precisions.

    Raises
    ------
    TypeError, ValueError
        For patterns that are not -1 or +1, and unknown rules.

    Warns
    -----
    DependentPatternsWarning
        If some patterns are linear combinations of others.

    Notes
    -----
    O(n_patterns^2 n_units).

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> patterns = np.array([[1, 1, -1, -1], [1, -1, 1, -1]])
    >>> rbm = fastrbm.hopfield.from_patterns(patterns, rule="hebb", beta=2.0)
    >>> np.allclose(rbm.weights @ rbm.weights.T, 2.0 * patterns.T @ patterns / 4)
    True
    """
    rule = validation.choice("rule", rule, ("hebb", "projection"))
    beta = validation.number("beta", beta, minimum=0, open_minimum=True)
    dtype = validation.model_dtype("dtype", dtype)
    patterns = validation.real_array("patterns", patterns)
    patterns = validation.table("patterns", patterns[None] if patterns.ndim == 1 else patterns)
    patterns = Spin(patterns.shape[1]).check_states("patterns", patterns)
    n_patterns, n_units = patterns.shape

    left, singular, right = np.linalg.svd(patterns, full_matrices=False)
    # The threshold of numpy.linalg.matrix_rank.
    rank = int(np.sum(singular > singular[0] * max(patterns.shape) * np.finfo(np.float64).eps))
    if rank < n_patterns:
        warnings.warn(
            f"only {rank} of {n_patterns} patterns are linearly independent",
            DependentPatternsWarning,
            stacklevel=2,
        )
    if rule == "hebb":
        weights = np.sqrt(beta / n_units) * patterns.T
    else:
        # With P = U S V^T, P^T ((P P^T)^+)^(1/2) = V U^T over the singular values above 0.
        weights = np.sqrt(beta) * (left[:, :rank] @ right[:rank]).T
    return RBM(Spin(n_units), Gaussian(n_patterns), weights=weights, dtype=dtype)
