"""Print the seconds of a training step: python one_step.py ours|torch real_nvp|maf DIM N_UPDATES.

The torch side is written to be fast: fused Adam, addmm, activations in place, no work in Python
beyond one call for each tensor operation.
"""

import itertools
import math
import statistics
import sys
import time

import numpy as np

DEPTH, WIDTH, BATCH = 8, 64, 512
N_EPOCHS = 5


def ours(family, dim, x):
    from fastrbm import flows

    flow = getattr(flows, family)(dim=dim, depth=DEPTH, width=WIDTH, rng=0)
    result = flow.fit(x, n_epochs=N_EPOCHS + 1, batch_size=BATCH, learning_rate=1e-4, rng=1)
    return result.history["seconds"][1:]


def by_torch(family, dim, x):
    import torch

    from fastrbm import flows

    torch.set_num_threads(2)
    bound = math.log(1000)

    class Perceptron(torch.nn.Module):
        def __init__(self, sizes, masks):
            super().__init__()
            make = torch.nn.Parameter
            matrices = [torch.randn(n, m) / n**0.5 for n, m in itertools.pairwise(sizes)]
            self.weights = torch.nn.ParameterList([make(w) for w in matrices])
            self.biases = torch.nn.ParameterList([make(torch.zeros(m)) for m in sizes[1:]])
            self.masks = masks

        def forward(self, h):
            for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
                h = torch.addmm(b, h, w if self.masks is None else w * self.masks[i])
                if i < 2:
                    h = torch.relu_(h)
            return h

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            masks, n_in, n_out = None, dim // 2, dim
            if family == "maf":
                made = flows.MADE(dim, [WIDTH, WIDTH], 2)
                masks = [torch.tensor(mask.astype(float)) for mask in made.masks]
                n_in, n_out = dim, 2 * dim
            self.nets = torch.nn.ModuleList(
                [Perceptron([n_in, WIDTH, WIDTH, n_out], masks) for _ in range(DEPTH)]
            )

        def nll(self, x):
            log_det = 0
            for i, net in enumerate(self.nets):
                if family == "maf":
                    shift, raw = net(x).chunk(2, 1)
                    log_scale = raw / (1 + raw.abs() / bound)
                    x = (x * torch.exp(log_scale) + shift).flip(1)
                    log_det = log_det + log_scale.sum(1)
                else:
                    kept, moved = x.chunk(2, 1) if i % 2 == 0 else x.chunk(2, 1)[::-1]
                    shift, raw = net(kept).chunk(2, 1)
                    log_scale = raw / (1 + raw.abs() / bound)
                    moved = (moved - shift) * torch.exp(-log_scale)
                    x = torch.cat([kept, moved] if i % 2 == 0 else [moved, kept], 1)
                    log_det = log_det - log_scale.sum(1)
            return (0.5 * (x * x).sum(1) - log_det).mean() + 0.5 * dim * math.log(2 * math.pi)

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = Model()
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    data = torch.tensor(x)
    spent = []
    for _ in range(N_EPOCHS + 1):
        started = time.perf_counter()
        shuffled = data[torch.randperm(len(data))]
        for batch in shuffled.split(BATCH):
            adam.zero_grad()
            model.nll(batch).backward()
            adam.step()
        spent.append(time.perf_counter() - started)
    return spent[1:]


def main(side, family, dim, n_updates):
    dim, n_updates = int(dim), int(n_updates)
    x = np.random.default_rng(0).normal(size=(BATCH * n_updates, dim))
    spent = (ours if side == "ours" else by_torch)(family, dim, x)
    print(statistics.median(spent) / n_updates)


if __name__ == "__main__":
    main(*sys.argv[1:])
