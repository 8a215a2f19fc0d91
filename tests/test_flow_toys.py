"""Toy targets of flows: densities against their draws and constants, energies against log Z."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, multivariate_normal

from fastrbm.flows import toys

densities = pytest.mark.parametrize("density", toys.DENSITIES.values(), ids=toys.DENSITIES)
energies = pytest.mark.parametrize("energy", toys.ENERGIES.values(), ids=toys.ENERGIES)
targets = pytest.mark.parametrize(
    "target",
    [*(density.log_prob for density in toys.DENSITIES.values()), *toys.ENERGIES.values()],
    ids=[*toys.DENSITIES, *toys.ENERGIES],
)
SMOOTH = {name: toys.DENSITIES[name] for name in ("eight_gaussians", "moons", "circles")}
smooth = pytest.mark.parametrize("density", SMOOTH.values(), ids=SMOOTH)


def gauss_legendre(edges, n_nodes):
    """Nodes and weights of n_nodes on each interval between neighbouring edges: (intervals, n)."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    edges = np.asarray(edges, dtype=float)
    half = np.diff(edges)[:, None] / 2
    return edges[:-1, None] + half * (nodes + 1), half * weights


def plane(axis):
    """The points (n^2, 2) of a square grid with the given coordinates."""
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def uniform(half_width, n, seed=0):
    return np.random.default_rng(seed).uniform(-half_width, half_width, size=(n, 2))


def values_of(result):
    """The values of a density or of an energy, which gives gradients as well."""
    return result[0] if isinstance(result, tuple) else result


# Densities -----------------------------------------------------------------------------------


@smooth
def test_mass_and_entropy(density):
    """The trapezoidal rule is exact to rounding where a smooth integrand falls to zero."""
    axis = np.linspace(-density.extent - 1.5, density.extent + 1.5, 301)
    x, area = plane(axis), (axis[1] - axis[0]) ** 2
    log_p = density.log_prob(x)
    p = np.exp(log_p) * area
    assert p.sum() == pytest.approx(1, abs=1e-11)
    assert -(p * log_p).sum() == pytest.approx(density.entropy, abs=1e-9)
    assert p[(np.abs(x) > density.extent).any(axis=1)].sum() < 1e-5


def test_mass_and_entropy_of_the_checkerboard():
    """Cells of side 1/8 lie in one square each, so that their centres give the exact sums."""
    x = plane(np.arange(-5, 5, 0.125) + 0.0625)
    log_p = toys.checkerboard.log_prob(x)
    inside = np.isfinite(log_p)
    assert np.exp(log_p[inside]).sum() / 64 == pytest.approx(1, abs=1e-13)
    assert np.isneginf(log_p[~inside]).all()
    assert toys.checkerboard.entropy == pytest.approx(math.log(32), abs=1e-15)
    assert (np.abs(x[inside]) < toys.checkerboard.extent).all()


def test_edges_of_the_checkerboard():
    """Squares own their left and lower edges."""
    inside = [[-4, -4], [0, 0], [2, 2], [-2, 2], [3.999, 3.999]]
    outside = [[4, 0], [0, 4], [2, 0], [0, 2], [-2, 0], [-4.001, -4], [4, 4], [8, 8]]
    assert np.isfinite(toys.checkerboard.log_prob(inside)).all()
    assert np.isneginf(toys.checkerboard.log_prob(outside)).all()


def test_checkerboard_is_that_of_the_generator():
    """x1 uniform; x2 in [0, 1) or [-2, -1), one higher in odd columns; then both doubled."""
    rng = np.random.default_rng(0)
    x1 = 4 * rng.random(2000) - 2
    x2 = rng.random(2000) - 2 * rng.integers(2, size=2000) + np.floor(x1) % 2
    assert np.isfinite(toys.checkerboard.log_prob(2 * np.stack([x1, x2], axis=-1))).all()


def test_eight_gaussians_from_their_definition():
    x = uniform(6, 500)
    angles = np.arange(8) * math.pi / 4
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * 4 / 1.414
    p = np.mean([multivariate_normal(c, (0.5 / 1.414) ** 2).pdf(x) for c in centres], axis=0)
    np.testing.assert_allclose(toys.eight_gaussians.log_prob(x), np.log(p), rtol=0, atol=1e-12)


def brute_force(x, curve, weights, sigma):
    """log sum_k weights_k N(x; curve_k, sigma^2) with all rows at once."""
    exponents = -((x[:, None] - curve) ** 2).sum(axis=-1) / (2 * sigma**2)
    top = exponents.max(axis=1)
    sums = (weights * np.exp(exponents - top[:, None])).sum(axis=1)
    return top + np.log(sums / (2 * math.pi * sigma**2))


@pytest.mark.parametrize("half_width", [4, 14])
def test_moons_against_a_finer_quadrature(half_width):
    """40 panels of 40 nodes a moon, for points up to 20 from the origin; sklearn's parametrisation.

    1e-10 of the sum itself, and the rounding of logarithms that reach -5000.
    """
    x = uniform(half_width, 300)
    t, weights = (part.ravel() for part in gauss_legendre(np.linspace(0, math.pi, 41), 40))
    outer = np.stack([np.cos(t), np.sin(t)], axis=-1)
    inner = np.stack([1 - np.cos(t), 1 - np.sin(t) - 0.5], axis=-1)
    curve = 2 * np.concatenate([outer, inner]) + [-1, -0.2]
    expected = brute_force(x, curve, np.tile(weights, 2) / (2 * math.pi), 0.2)
    np.testing.assert_allclose(toys.moons.log_prob(x), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("half_width", [4, 14])
def test_circles_against_a_quadrature(half_width):
    """The trapezoidal rule over the angle: exact to rounding, since the integrand is periodic."""
    x = uniform(half_width, 300)
    t = np.arange(1000) * 2 * math.pi / 1000
    curve = np.stack([np.cos(t), np.sin(t)], axis=-1)
    curve = 3 * np.concatenate([curve, 0.5 * curve])
    expected = brute_force(x, curve, np.full(2000, 1 / 2000), 0.24)
    np.testing.assert_allclose(toys.circles.log_prob(x), expected, rtol=0, atol=1e-10)


@densities
def test_draws_follow_the_density(density):
    """Chi-square of 100000 draws in 16 x 16 cells and all that lies outside of them.

    The cells are aligned with the squares of the checkerboard.
    """
    n, n_cells = 100_000, 16
    edges = np.linspace(-density.extent, density.extent, n_cells + 1)
    axis, weights = gauss_legendre(edges, 10)
    p = np.exp(density.log_prob(plane(axis.ravel()))).reshape(n_cells, 10, n_cells, 10)
    p = np.einsum("iajb,ia,jb->ij", p, weights, weights).ravel()
    x = density.sample(n, rng=1)
    counts = np.histogram2d(x[:, 0], x[:, 1], bins=[edges, edges])[0].ravel()

    often = n * p >= 5
    expected = np.append(n * p[often], n * (1 - p[often].sum()))
    found = np.append(counts[often], n - counts[often].sum())
    if density is toys.checkerboard:  # nothing is rare there: in a square, or nowhere
        assert found[-1] == 0
        assert np.isfinite(density.log_prob(x)).all()
        expected, found = expected[:-1], found[:-1]
    statistic = ((found - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > 1e-6


@densities
def test_mean_log_prob_of_draws_is_minus_the_entropy(density):
    log_p = density.log_prob(density.sample(20_000, rng=2))
    error = log_p.std() / math.sqrt(len(log_p))
    assert abs(log_p.mean() + density.entropy) < 5 * error + 1e-12


@densities
def test_successive_draws_are_independent(density):
    """No coordinate correlates with one of the next row: 4 numbers of variance 1 / n."""
    x = density.sample(20_000, rng=3)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    products = x[:-1].T @ x[1:] / len(x)
    assert np.abs(products).max() < 5 / math.sqrt(len(x))


@densities
def test_seeds(density):
    first = density.sample(5, rng=7)
    np.testing.assert_array_equal(first, density.sample(5, rng=np.random.SeedSequence(7)))
    np.testing.assert_array_equal(first, density.sample(5, rng=np.random.default_rng(7)))
    assert (first != density.sample(5, rng=8)).all()
    assert (density.sample(5) != density.sample(5)).all()
    generator = np.random.default_rng(7)
    np.testing.assert_array_equal(first, density.sample(5, rng=generator))
    assert (first != density.sample(5, rng=generator)).all()


@densities
def test_numbers_of_draws(density):
    for n in (0, 1, np.int64(3)):
        x = density.sample(n, rng=0)
        assert x.shape == (n, 2)
        assert x.dtype == np.float64


@densities
def test_bad_arguments_of_sample(density):
    for n, error in ((-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"^n must be an integer >= 0, got"):
            density.sample(n)
    for rng, error in ((-1, ValueError), ("seed", TypeError), (1.5, TypeError)):
        with pytest.raises(error, match=r"^rng must be"):
            density.sample(1, rng=rng)


def test_memory_of_moons_is_bounded():
    """All distances to the nodes at once would be 100 MB."""
    x = uniform(4, 32_000)
    tracemalloc.start()
    toys.moons.log_prob(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6


# Energies ------------------------------------------------------------------------------------


def textbook(name, z1, z2):
    """exp(-U) as the table of Rezende and Mohamed has it."""

    def bell(x, sigma):
        return np.exp(-0.5 * (x / sigma) ** 2)

    w1 = np.sin(2 * math.pi * z1 / 4)
    w2 = 3 * bell(z1 - 1, 0.6)
    w3 = 3 * expit((z1 - 1) / 0.3)
    return {
        "u1": bell(np.sqrt(z1**2 + z2**2) - 2, 0.4) * (bell(z1 - 2, 0.6) + bell(z1 + 2, 0.6)),
        "u2": bell(z2 - w1, 0.4),
        "u3": bell(z2 - w1, 0.35) + bell(z2 - w1 + w2, 0.35),
        "u4": bell(z2 - w1, 0.4) + bell(z2 - w1 + w3, 0.35),
    }[name]


@energies
def test_values_from_the_table(energy):
    x = uniform(5.9, 1000)
    expected = np.log(textbook(energy.name, *x.T))
    np.testing.assert_allclose(energy(x)[0], expected, rtol=1e-12, atol=1e-12)


@energies
def test_penalty(energy):
    """Nothing at 6, then the square of what lies beyond, coordinate by coordinate."""
    x = uniform(9, 1000)
    beyond = np.maximum(np.abs(x) - 6, 0)
    with np.errstate(divide="ignore"):
        expected = np.log(textbook(energy.name, *x.T)) - (beyond**2).sum(axis=1)
    kept = np.isfinite(expected)
    assert kept.sum() > 300
    assert (beyond[kept] > 0).any(axis=0).all()
    np.testing.assert_allclose(energy(x)[0][kept], expected[kept], rtol=1e-12, atol=1e-12)


@energies
def test_log_z(energy):
    """Gauss-Legendre between the points where the penalty starts; beyond 13 there is nothing."""
    edges = [-13, -9, -6, -4, -2, 0, 2, 4, 6, 9, 13]
    axis, weights = (part.ravel() for part in gauss_legendre(edges, 50))
    x = plane(axis)
    p = np.exp(energy(x)[0]) * np.outer(weights, weights).ravel()
    assert math.log(p.sum()) == pytest.approx(energy.log_z, abs=1e-9)
    assert p[(np.abs(x) > energy.extent).any(axis=1)].sum() < 1e-5 * p.sum()


def test_log_z_of_u2_in_closed_form():
    expected = math.log(0.4 * math.sqrt(2 * math.pi) * (12 + math.sqrt(math.pi)))
    assert toys.u2.log_z == pytest.approx(expected, abs=1e-9)


@energies
@pytest.mark.parametrize("half_width", [3, 9])
def test_gradients_against_central_differences(energy, half_width):
    x = uniform(half_width, 1000)
    gradients = energy(x)[1]
    step = 3e-6
    for i in range(2):
        shift = step * np.eye(2)[i]
        difference = (energy(x + shift)[0] - energy(x - shift)[0]) / (2 * step)
        np.testing.assert_allclose(gradients[:, i], difference, rtol=1e-6, atol=1e-6)


@energies
@pytest.mark.parametrize("size", [1e-300, 1.0, 6.0, 30.0, 1e3, 1e150])
def test_energies_are_finite_far_out(energy, size):
    x = size * np.concatenate([plane([-1.0, 0.0, 1.0]), uniform(1, 100)])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        values, gradients = energy(x)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()


def test_gradient_of_u1_at_its_kink():
    values, gradients = toys.u1([[0.0, 0.0]])
    assert values[0] == pytest.approx(-12.5 - 0.5 * (2 / 0.6) ** 2 + math.log(2), rel=1e-14)
    np.testing.assert_array_equal(gradients, [[0, 0]])


# Both ----------------------------------------------------------------------------------------


def test_names():
    assert list(toys.DENSITIES) == ["eight_gaussians", "moons", "circles", "checkerboard"]
    assert list(toys.ENERGIES) == ["u1", "u2", "u3", "u4"]
    for name, target in {**toys.DENSITIES, **toys.ENERGIES}.items():
        assert getattr(toys, name) is target
        assert (target.name, target.dim) == (name, 2)
        assert f" {name}: dim 2, " in repr(target)
    for name in toys.__all__:
        assert hasattr(toys, name)


@targets
def test_shapes(target):
    rows = uniform(4, 7)
    several, none, one = target(rows), target(np.zeros((0, 2))), target(rows[3])
    assert values_of(several).shape == (7,)
    assert values_of(none).shape == (0,)
    assert values_of(one) == pytest.approx(values_of(several)[3], rel=1e-13)
    assert np.ndim(values_of(one)) == 0
    if isinstance(several, tuple):
        assert (several[1].shape, none[1].shape, one[1].shape) == ((7, 2), (0, 2), (2,))
        assert several[1].dtype == np.float64
    assert values_of(several).dtype == np.float64


@targets
def test_rows_do_not_depend_on_their_number(target):
    """More rows than a block holds."""
    rows = uniform(4, 3001)
    parts = [values_of(target(part)) for part in np.array_split(rows, 7)]
    np.testing.assert_allclose(values_of(target(rows)), np.concatenate(parts), rtol=1e-13)


@targets
def test_kinds_of_input(target):
    x = np.array([[1, -2], [0, 3], [2, 1]])
    expected = values_of(target(x.astype(float)))
    read_only = x.astype(float)
    read_only.setflags(write=False)
    wide = np.zeros((6, 4))
    wide[::2, ::2] = x
    for same in (x, x.tolist(), x.astype(np.float32), x.astype(np.int8), read_only, wide[::2, ::2]):
        np.testing.assert_array_equal(values_of(target(same)), expected)
    np.testing.assert_array_equal(wide[::2, ::2], x)


@targets
@pytest.mark.parametrize(
    ("x", "error"),
    [
        ([1.0, 2.0, 3.0], ValueError),
        (np.zeros((3, 3)), ValueError),
        (np.zeros((1, 1, 2)), ValueError),
        (1.0, ValueError),
        ([[math.nan, 0.0]], ValueError),
        ([[0.0, math.inf]], ValueError),
        ([[1j, 0.0]], TypeError),
        ([["a", "b"]], TypeError),
        ([[1.0, 2.0], [3.0]], TypeError),
        (None, TypeError),
    ],
)
def test_bad_points(target, x, error):
    with pytest.raises(error, match=r"^x must "):
        target(x)


@densities
def test_densities_far_out(density):
    """Down to -inf, without a warning and never nan."""
    x = np.outer([1e3, 1e150, 1e200, 1.7e308], [1, -1])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        log_p = density.log_prob(x)
    assert np.isfinite(log_p[:2]).all() == (density is not toys.checkerboard)
    assert np.isneginf(log_p[2:]).all()
    assert not np.isnan(log_p).any()
