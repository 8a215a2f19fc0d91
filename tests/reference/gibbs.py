"""Block Gibbs sampling on the package's random words, and samplers that are wrong on purpose.

A sampler is a function

    sampler(model, init, n_draws=1, burn_in=0, thin=1, beta=1.0, clamp=None, seed=0)
        -> visible (n_chains, n_draws, n_visible), hidden (n_chains, n_draws, n_hidden)

with draw t the state after burn_in + (t + 1) thin sweeps, a sweep being h given v, then v given h.
The statistical tests take one as an argument; each mutant below must make them fail.
"""

import numpy as np

from .exact import Model


def sweep(model, v, beta, key, step, clamp=None):
    """One sweep from v: the new (v, h)."""
    rows = np.arange(len(v))
    h_words = model.hidden.words(key, "GIBBS_HIDDEN", step, rows)
    h = model.hidden.draw(v @ model.weights, beta, h_words)
    v_words = model.visible.words(key, "GIBBS_VISIBLE", step, rows)
    new = model.visible.draw(h @ model.weights.T, beta, v_words)
    return (new if clamp is None else np.where(clamp, v, new)), h


def gibbs(model, init, n_draws=1, burn_in=0, thin=1, beta=1.0, clamp=None, seed=0, sweep=sweep):
    """The reference sampler: `sweep` once a step, keeping the draws."""
    v = np.asarray(init, float)
    visible = np.empty((len(v), n_draws, model.visible.n))
    hidden = np.empty((len(v), n_draws, model.hidden.n))
    h_words = model.hidden.words(seed, "LAYER", 0, np.arange(len(v)))
    h = model.hidden.draw(v @ model.weights, beta, h_words)
    step = 0
    for t in range(n_draws):
        for _ in range(thin + (burn_in if t == 0 else 0)):
            v, h = sweep(model, v, beta, seed, step, clamp)
            step += 1
        visible[:, t], hidden[:, t] = v, h
    return visible, hidden


# ------------------------------------------------------------------ mutants of the reference sweep


def _mutant(change):
    """A sampler with another sweep; `change` is that sweep."""

    def sampler(model, init, **schedule):
        return gibbs(model, init, sweep=change, **schedule)

    sampler.__name__ = change.__name__
    return sampler


@_mutant
def identity(model, v, beta, key, step, clamp=None):
    """Nothing moves: h is drawn, v stays."""
    return v, sweep(model, v, beta, key, step, clamp)[1]


@_mutant
def same_uniform_for_v_and_h(model, v, beta, key, step, clamp=None):
    """Unit j of both layers reads one word."""
    larger = max(model.hidden, model.visible, key=lambda layer: layer.n)
    u = larger.words(key, "GIBBS_HIDDEN", step, np.arange(len(v)))
    h = model.hidden.draw(v @ model.weights, beta, u[:, : model.hidden.n])
    return model.visible.draw(h @ model.weights.T, beta, u[:, : model.visible.n]), h


@_mutant
def same_uniform_in_two_sweeps(model, v, beta, key, step, clamp=None):
    """The step is not part of the counter."""
    return sweep(model, v, beta, key, 0, clamp)


@_mutant
def same_uniform_in_two_units(model, v, beta, key, step, clamp=None):
    """Every unit of a row reads the row's first word."""
    rows = np.arange(len(v))
    h_words = model.hidden.words(key, "GIBBS_HIDDEN", step, rows)
    h = model.hidden.draw(v @ model.weights, beta, h_words[:, :1])
    v_words = model.visible.words(key, "GIBBS_VISIBLE", step, rows)
    return model.visible.draw(h @ model.weights.T, beta, v_words[:, :1]), h


@_mutant
def wrong_sign(model, v, beta, key, step, clamp=None):
    """The hidden units see -W."""
    h = sweep(Model(model.visible, model.hidden, -model.weights), v, beta, key, step)[1]
    v_words = model.visible.words(key, "GIBBS_VISIBLE", step, np.arange(len(v)))
    return model.visible.draw(h @ model.weights.T, beta, v_words), h


@_mutant
def hidden_of_the_next_sweep(model, v, beta, key, step, clamp=None):
    """The h that is returned was drawn given the new v, not the v given it."""
    new, _ = sweep(model, v, beta, key, step, clamp)
    return new, sweep(model, new, beta, key, step + 1, clamp)[1]


@_mutant
def beta_forgotten(model, v, beta, key, step, clamp=None):
    return sweep(model, v, 1.0, key, step, clamp)


@_mutant
def clamp_forgotten(model, v, beta, key, step, clamp=None):
    """Clamped units move."""
    return sweep(model, v, beta, key, step)


@_mutant
def clamp_unseen(model, v, beta, key, step, clamp=None):
    """Clamped units keep their value, but the hidden units do not feel it."""
    free = v if clamp is None else np.where(clamp, 0.0, v)
    new, h = sweep(model, free, beta, key, step)
    return (new if clamp is None else np.where(clamp, v, new)), h


def frozen_hidden(model, init, **schedule):
    """The hidden layer of the first sweep is used for ever."""
    first = {}

    def frozen(model, v, beta, key, step, clamp=None):
        h = first.setdefault("h", sweep(model, v, beta, key, step, clamp)[1])
        v_words = model.visible.words(key, "GIBBS_VISIBLE", step, np.arange(len(v)))
        return model.visible.draw(h @ model.weights.T, beta, v_words), h

    return gibbs(model, init, sweep=frozen, **schedule)


def frozen_visible(model, init, **schedule):
    """The visible layer of the first sweep is kept for ever."""
    first = {}

    def frozen(model, v, beta, key, step, clamp=None):
        new, h = sweep(model, v, beta, key, step, clamp)
        return first.setdefault("v", new), h

    return gibbs(model, init, sweep=frozen, **schedule)


# ------------------------------------------------------------ mutants that wrap any sampler's call


def _call_mutant(change):
    """A function of a sampler that returns the changed sampler, under the change's name."""

    def wrap(sampler):
        def mutant(model, init, **schedule):
            return change(sampler, model, init, **schedule)

        mutant.__name__ = change.__name__
        return mutant

    wrap.__name__ = change.__name__
    return wrap


@_call_mutant
def one_sweep_more(sampler, model, init, thin=1, **schedule):
    """Draws every thin + 1 sweeps."""
    return sampler(model, init, thin=thin + 1, **schedule)


@_call_mutant
def one_sweep_less(sampler, model, init, thin=1, burn_in=0, n_draws=1, **schedule):
    """Draws every thin - 1 sweeps; the start itself where that is none."""
    if thin > 1:
        return sampler(model, init, thin=thin - 1, burn_in=burn_in, n_draws=n_draws, **schedule)
    if burn_in:
        return sampler(model, init, burn_in=burn_in - 1, n_draws=n_draws, **schedule)
    _, hidden = sampler(model, init, n_draws=n_draws, **schedule)
    return np.repeat(np.asarray(init)[:, None], n_draws, axis=1), hidden


@_call_mutant
def burn_in_off_by_one(sampler, model, init, burn_in=0, **schedule):
    """One sweep of burn-in too many."""
    return sampler(model, init, burn_in=burn_in + 1, **schedule)


@_call_mutant
def start_returned(sampler, model, init, **schedule):
    """The first draw is the start itself and the others come one draw late."""
    visible, hidden = sampler(model, init, **schedule)
    late = np.concatenate([np.asarray(init, visible.dtype)[:, None], visible[:, :-1]], axis=1)
    return late, hidden


@_call_mutant
def one_seed_for_every_call(sampler, model, init, n_draws=1, burn_in=0, thin=1, **schedule):
    """t sweeps made by t calls of one sweep with the same seed: the words repeat."""
    visible, hidden = [], []
    for t in range(n_draws):
        for _ in range(thin + (burn_in if t == 0 else 0)):
            v, h = sampler(model, init, **schedule)
            init = v[:, 0]
        visible.append(v)
        hidden.append(h)
    return np.concatenate(visible, axis=1), np.concatenate(hidden, axis=1)


@_call_mutant
def neighbours_share_words(sampler, model, init, **schedule):
    """Two neighbouring chains read the same words."""
    visible, hidden = sampler(model, init[::2], **schedule)
    return visible.repeat(2, axis=0)[: len(init)], hidden.repeat(2, axis=0)[: len(init)]


SWEEP_MUTANTS = (
    identity,
    frozen_hidden,
    frozen_visible,
    same_uniform_for_v_and_h,
    same_uniform_in_two_sweeps,
    same_uniform_in_two_units,
    wrong_sign,
    hidden_of_the_next_sweep,
)
CALL_MUTANTS = (
    one_sweep_more,
    one_sweep_less,
    burn_in_off_by_one,
    start_returned,
    one_seed_for_every_call,
    neighbours_share_words,
)
