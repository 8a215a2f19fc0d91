"""What exact methods return: log Z with its bound, and moments."""

import dataclasses

import numpy as np


@dataclasses.dataclass(slots=True, eq=False)
class LogPartition:
    """log Z of a model, what it was computed by, and how far off it can be.

    Attributes
    ----------
    value : float
        log Z in nats; also ``float(result)``.
    method : str
        What computed it: "pairwise", "split", "quadrature", "counts", "elimination", "gaussian"
        or "components".
    reason : str
        Why this method.
    n_states : int
        States (grid points, table entries) that were summed over.
    error : float
        Bound in nats on the rounding, on what underflow may have lost, and on the discretisation
        of integrals: the true log Z of the parameters as stored lies within value +- error.
    seconds : float
    info : dict
        simd, n_threads, seconds, versions, beta, dtype, and what the method adds.

    Examples
    --------
    >>> import numpy as np, fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(3), fastrbm.Bernoulli(2), weights=np.zeros((3, 2)))
    >>> z = fastrbm.log_partition(rbm)
    >>> bool(abs(z.value - 5 * np.log(2)) <= z.error), float(z) == z.value, z.method
    (True, True, 'components')
    """

    value: float
    method: str
    reason: str
    n_states: int
    error: float
    seconds: float
    info: dict

    def __float__(self):
        return self.value

    def __repr__(self):
        return (
            f"LogPartition({self.value!r} +- {self.error:.1e} nats, {self.method}, "
            f"{count_text(self.n_states)} states, {self.seconds:.3g} s)"
        )


@dataclasses.dataclass(slots=True, eq=False)
class ExactMoments:
    """Exact means of a model; see `exact_moments`.

    Attributes
    ----------
    visible : ndarray (n_visible,)
        <v_i>.
    hidden : ndarray (n_hidden,)
        <h_mu>.
    products : ndarray (n_visible, n_hidden)
        <v_i h_mu>, not centred.
    visible_products : ndarray (n_visible, n_visible) or None
        <v_i v_j>, not centred.
    log_partition : float
        log Z, nats.
    energy : float
        <E(v, h)> of the joint law.
    entropy : float
        log Z + beta <E>: of the joint law, differential where units are continuous; nats.
    heat_capacity : float or None
        beta^2 Var(E) of the joint law.
    method, reason : str
        What computed them, and why.
    n_states : int
    error : float
        Bound in nats on the error of log_partition. No state's log-probability is off by more
        than twice as much, so a mean of values of size one is off by at most about 2 `error`.
    seconds : float
    info : dict

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Spin(4), fastrbm.Gaussian(2), rng=1)
    >>> fastrbm.exact_moments(rbm).products.shape
    (4, 2)
    """

    visible: np.ndarray
    hidden: np.ndarray
    products: np.ndarray
    visible_products: np.ndarray | None
    log_partition: float
    energy: float
    entropy: float
    heat_capacity: float | None
    method: str
    reason: str
    n_states: int
    error: float
    seconds: float
    info: dict

    def __repr__(self):
        return (
            f"ExactMoments({len(self.visible)} visible and {len(self.hidden)} hidden units, "
            f"log_partition {self.log_partition:.6g}, energy {self.energy:.6g}, "
            f"entropy {self.entropy:.6g}, {self.method})"
        )


def count_text(n):
    """Return a count in few characters.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.result import count_text
    >>> count_text(2**40), count_text(1000), count_text(10**9 + 1)
    ('2^40', '1000', '1.0e+09')
    """
    n = int(n)
    if n >= 4096 and n & (n - 1) == 0:
        return f"2^{n.bit_length() - 1}"
    if n < 10**6:
        return str(n)
    digits = str(n)
    return f"{digits[0]}.{digits[1]}e+{len(digits) - 1:02d}"
