"""CD-k (Hinton 2002) and PCD (Tieleman 2008) in float64 on the package's random words.

One mini-batch: gradient = <v E[h|v]> over the rows - <v_k E[h|v_k]> over the chains;
velocity = momentum velocity + gradient - weight_decay W (weights only); parameter += rate velocity.
"""

from dataclasses import dataclass, replace

import numpy as np

from .exact import Model
from .philox import permutation, words

NAMES = ("weights", "visible_bias", "hidden_bias")


@dataclass
class Run:
    """What training leaves: the model, the chains and one update_norm an epoch."""

    model: Model
    chains: np.ndarray
    update_norm: list


def parameters(model):
    return {
        "weights": model.weights,
        "visible_bias": model.visible.bias,
        "hidden_bias": model.hidden.bias,
    }


def with_parameters(model, values):
    return Model(
        replace(model.visible, bias=values["visible_bias"]),
        replace(model.hidden, bias=values["hidden_bias"]),
        values["weights"],
    )


def sweeps(model, v, k, key, first_step):
    """k sweeps of the negative phase: the new visible states."""
    rows = np.arange(len(v))
    for step in range(first_step, first_step + k):
        h_words = model.hidden.words(key, "TRAIN_HIDDEN", step, rows)
        h = model.hidden.draw(v @ model.weights, 1.0, h_words)
        v_words = model.visible.words(key, "TRAIN_VISIBLE", step, rows)
        v = model.visible.draw(h @ model.weights.T, 1.0, v_words)
    return v


def statistics(v, h):
    return {
        "weights": v.T @ h / len(v),
        "visible_bias": v.mean(0),
        "hidden_bias": h.mean(0),
    }


def train(
    model, data, key, *, n_epochs, batch_size, rate, k=1, chains=None, samples=False,
    momentum=0.0, weight_decay=0.0, max_norm=None, freeze=(), probabilities=False, shuffle=True,
):  # fmt: skip
    """Train `model` (not changed) on data (rows, n_visible); persistent when chains are given."""
    data = np.asarray(data, float)
    persistent = chains is not None
    velocity = {name: np.zeros_like(value) for name, value in parameters(model).items()}
    update, norms = 0, []
    for epoch in range(1, n_epochs + 1):
        order = permutation(key, "SHUFFLE", epoch, len(data)) if shuffle else np.arange(len(data))
        squares = []
        for first in range(0, len(data), batch_size):
            batch = data[order[first : first + batch_size]]
            rows = np.arange(len(batch))
            if not persistent:
                chains = batch
                if probabilities:
                    u = words(key, "TRAIN_DATA", update, rows, model.visible.n) / 2.0**32
                    chains = (u < batch).astype(float)
            chains = sweeps(model, chains, k, key, update * k)
            h = model.mean_hidden(chains)
            if samples:
                rows = np.arange(len(chains))
                u = model.hidden.words(key, "TRAIN_STATISTIC", update, rows)
                h = model.hidden.draw(chains @ model.weights, 1.0, u)
            positive, negative = statistics(batch, model.mean_hidden(batch)), statistics(chains, h)
            gradient = {n: positive[n] - negative[n] for n in NAMES if n not in freeze}
            norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
            scale = min(1.0, max_norm / norm) if max_norm else 1.0
            values = dict(parameters(model))
            for name, g in gradient.items():
                decay = weight_decay * values[name] if name == "weights" else 0.0
                velocity[name] = momentum * velocity[name] + scale * g - decay
                values[name] = values[name] + rate(epoch) * velocity[name]
            squares.append((rate(epoch) ** 2) * (velocity["weights"] ** 2).sum())
            model = with_parameters(model, values)
            update += 1
        norms.append(np.sqrt(np.mean(squares)))
    return Run(model, chains, norms)
