"""Adam on one flat vector, clipping, and schedules of the rate.

D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
"""

import math

import numpy as np

#: Weights of the running means of the gradient and of its square.
BETA_1, BETA_2 = 0.9, 0.999
EPSILON = 1e-8

SCHEDULES = ("cosine", "linear", "constant")


class Adam:
    """The running means of Adam, and its step.

    Parameters
    ----------
    n : int
        Length of the vector.
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.adam import Adam
    >>> theta = np.zeros(2)
    >>> Adam(2, np.float64).step(theta, np.array([3.0, -0.1]), 0.01)
    >>> theta.round(6)
    array([-0.01,  0.01])
    """

    def __init__(self, n, dtype):
        self.n_steps = 0
        self.mean, self.square, self._work = (np.zeros(n, dtype) for _ in range(3))

    def step(self, theta, gradient, rate):
        """Move theta in place by one step of the rate."""
        self.n_steps += 1
        work = np.subtract(gradient, self.mean, out=self._work)
        work *= 1 - BETA_1
        self.mean += work
        np.multiply(gradient, gradient, out=work)
        work -= self.square
        work *= 1 - BETA_2
        self.square += work
        # Both means start at zero: divided by what they lack.
        np.divide(self.square, 1 - BETA_2**self.n_steps, out=work)
        np.sqrt(work, out=work)
        work += EPSILON
        np.divide(self.mean, work, out=work)
        work *= rate / (1 - BETA_1**self.n_steps)
        theta -= work

    def copy(self):
        """Return an independent copy."""
        twin = Adam(len(self.mean), self.mean.dtype)
        twin.n_steps = self.n_steps
        twin.mean[:], twin.square[:] = self.mean, self.square
        return twin


def clip(gradient, max_norm):
    """Scale the gradient in place to at most max_norm (None: as it is); return its former norm.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.adam import clip
    >>> gradient = np.array([3.0, 4.0])
    >>> clip(gradient, 1.0), gradient
    (5.0, array([0.6, 0.8]))
    """
    # np.dot would overflow in single precision where the norm does not.
    norm = math.sqrt(float(np.square(gradient, dtype=np.float64).sum()))
    if max_norm is not None and norm > max_norm:
        gradient *= max_norm / norm
    return norm


def factor(schedule, fraction):
    """Return what the rate is multiplied by when `fraction` of the run is over.

    Examples
    --------
    >>> from fastrbm.flows.adam import factor
    >>> factor("cosine", 0.0), factor("linear", 0.25), factor(lambda fraction: 2.0, 0.1)
    (1.0, 0.75, 2.0)
    """
    if callable(schedule):
        return schedule(fraction)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * fraction))
    return 1 - fraction if schedule == "linear" else 1.0
