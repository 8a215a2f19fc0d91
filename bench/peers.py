"""The same training in other libraries, written as fast as we know how."""

import numpy as np


class TorchCD1:
    """CD-1 of a Bernoulli-Bernoulli RBM in plain torch, float32, on the CPU.

    Everything is in place and preallocated, and bits are drawn by comparing with uniforms, which is
    four times faster than torch.bernoulli. Rows are taken in the order given, which spares torch
    the shuffling that fastrbm does.
    """

    def __init__(self, data, n_hidden, batch_size, learning_rate=0.05, n_threads=1, seed=0):
        import torch

        self.torch = torch
        self.data = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))
        n_visible = self.data.shape[1]
        torch.set_num_threads(n_threads)
        torch.manual_seed(seed)
        self.weights = torch.randn(n_visible, n_hidden) * 0.01
        self.visible_bias = torch.zeros(n_visible)
        self.hidden_bias = torch.zeros(n_hidden)
        self.batch_size, self.learning_rate = batch_size, learning_rate
        shapes = [n_hidden] * 3 + [n_visible] * 2
        self.buffers = [torch.empty(batch_size, n) for n in shapes]

    def epoch(self):
        """One pass over the data."""
        torch, weights = self.torch, self.weights
        with torch.no_grad():
            for v in self.data.split(self.batch_size):
                mean_h, h, u_h, model_v, u_v = (buffer[: len(v)] for buffer in self.buffers)
                rate = self.learning_rate / len(v)
                torch.addmm(self.hidden_bias, v, weights, out=mean_h).sigmoid_()
                torch.lt(u_h.uniform_(), mean_h, out=h)
                torch.addmm(self.visible_bias, h, weights.T, out=model_v).sigmoid_()
                torch.lt(u_v.uniform_(), model_v, out=model_v)
                torch.addmm(self.hidden_bias, model_v, weights, out=h).sigmoid_()
                weights.addmm_(v.T, mean_h, alpha=rate).addmm_(model_v.T, h, alpha=-rate)
                self.visible_bias.add_(v.sum(0).sub_(model_v.sum(0)), alpha=rate)
                self.hidden_bias.add_(mean_h.sum(0).sub_(h.sum(0)), alpha=rate)


def sklearn_pcd1(data, start, n_epochs, batch_size, learning_rate, seed):
    """Train scikit-learn's BernoulliRBM (PCD-1) from the parameters of `start`, a fastrbm.RBM.

    Returns its weights (n_visible, n_hidden), visible bias and hidden bias. Rows are shuffled anew
    in every epoch, as fastrbm does; scikit-learn by itself does not.
    """
    from sklearn.neural_network import BernoulliRBM

    peer = BernoulliRBM(
        n_components=start.n_hidden,
        learning_rate=learning_rate,
        batch_size=batch_size,
        random_state=seed,
    )
    # What fit would set at its start, so that partial_fit goes on from it.
    peer.components_ = np.array(start.weights.T, np.float64, order="F")
    peer.intercept_visible_ = start.visible.bias.astype(np.float64)
    peer.intercept_hidden_ = start.hidden.bias.astype(np.float64)
    peer.h_samples_ = np.zeros((batch_size, start.n_hidden))
    shuffle = np.random.default_rng(seed)
    data = data.astype(np.float64)
    for _ in range(n_epochs):
        order = shuffle.permutation(len(data))
        for first in range(0, len(data), batch_size):
            peer.partial_fit(data[order[first : first + batch_size]])
    return peer.components_.T, peer.intercept_visible_, peer.intercept_hidden_
