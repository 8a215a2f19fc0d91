"""Free-energy gap: the part of a fit that does not carry over to new data, without log Z."""

import numpy as np

from .. import _lib, validation
from .._lib import core
from ..model import check_model

#: Rows whose free energies are computed at a time; it bounds memory, not the result.
BLOCK_ROWS = 256


def free_energy_gap(rbm, validation_data, training_data):
    """Return mean F(validation_data) - mean F(training_data).

    log Z cancels. A gap that grows during training is overfitting.

    Parameters
    ----------
    rbm : RBM
    validation_data, training_data : array_like (n_samples, n_visible)
        States of the visible units.

    Returns
    -------
    float
        Nats per row.

    Raises
    ------
    ValueError
        For wrong shapes and for values that are not states of the units.

    Notes
    -----
    O(n_samples n_visible n_hidden). G. Hinton, "A practical guide to training restricted Boltzmann
    machines" (2010), section 6.

    Examples
    --------
    >>> from fastrbm import RBM, Spin
    >>> from fastrbm.evaluation import free_energy_gap
    >>> rbm = RBM(Spin(2, bias=[1.0, 0.0]), Spin(1), weights=[[0.0], [0.0]])
    >>> free_energy_gap(rbm, [[-1, 1]], [[1, 1], [1, -1]])
    2.0
    """
    check_model("rbm", rbm)
    means = []
    for name, data in (("validation_data", validation_data), ("training_data", training_data)):
        data = validation.table(name, data, rbm.n_visible)
        try:
            means.append(mean_free_energy(rbm, data))
        except core.StateError as error:
            raise validation.state_error(name, error, rbm.visible, data) from None
    return means[0] - means[1]


def mean_free_energy(rbm, data, rows=None, *, executor=None, beta=1.0):
    """Return the mean free energy of an array, or of those of its rows that `rows` names.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import RBM, Spin
    >>> from fastrbm.evaluation.gap import mean_free_energy
    >>> rbm = RBM(Spin(2, bias=[1.0, 0.0]), Spin(1), weights=[[0.0], [0.0]])
    >>> data = np.array([[1, 1], [-1, 1]])
    >>> float(mean_free_energy(rbm, data, rows=[0]) - mean_free_energy(rbm, data))
    -1.0
    """
    executor = _lib.executor() if executor is None else executor
    n = len(data) if rows is None else len(rows)
    total = 0.0
    for first in range(0, n, BLOCK_ROWS):
        chosen = slice(first, first + BLOCK_ROWS)
        block = data[chosen] if rows is None else data[rows[chosen]]
        energies = np.empty(len(block))
        rbm._core.free_energy(executor, block, beta, energies)
        total += float(energies.sum())
    return total / n
