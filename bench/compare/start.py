"""Where the peers written by hand start, and how their parameters become an RBM.

Weights N(0, 0.01^2), visible biases from the frequencies of the data, hidden biases 0: G. Hinton,
"A practical guide to training restricted Boltzmann machines" (2010), section 8. A Gaussian hidden
bias stays 0, as in fastrbm, since it only shifts the visible fields.
"""

import numpy as np

import fastrbm

LAYERS = {"bernoulli": fastrbm.Bernoulli, "spin": fastrbm.Spin, "gaussian": fastrbm.Gaussian}


def start(task, data, seed):
    """Return weights (n_visible, n_hidden), visible bias and hidden bias, float32."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((task.n_visible, task.n_hidden), dtype=np.float32)
    weights *= 0.01
    spin = task.layers[0] == "spin"
    mean = data.mean(axis=0, dtype=np.float64)
    ones = len(data) * ((1 + mean) / 2 if spin else mean)
    odds = np.log((ones + 0.5) / (len(data) - ones + 0.5))
    visible_bias = (odds / 2 if spin else odds).astype(np.float32)
    return weights, visible_bias, np.zeros(task.n_hidden, np.float32)


def as_rbm(task, weights, visible_bias, hidden_bias):
    """Return a fastrbm.RBM of these parameters; a FloatingPointError where training diverged."""
    arrays = [np.asarray(a) for a in (weights, visible_bias, hidden_bias)]
    if not all(np.isfinite(a).all() for a in arrays):
        raise FloatingPointError("parameters are no longer finite")
    visible, hidden = task.layers
    return fastrbm.RBM(
        LAYERS[visible](task.n_visible, bias=arrays[1]),
        LAYERS[hidden](task.n_hidden, bias=arrays[2]),
        weights=arrays[0],
        dtype="float32",
    )
