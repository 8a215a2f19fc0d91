"""fastrbm.plot: the numbers behind the pictures, and that no global state is touched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastrbm import flows

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from fastrbm import plot
from fastrbm.plot import planes, style

EXAMPLE = Path(__file__).parents[1] / "examples/flow_gallery.py"

MAKERS = {
    "nsf": lambda: flows.nsf(dim=2, depth=3, width=8, rng=1),  # 6 layers
    "planar": lambda: flows.planar(dim=2, depth=12, rng=1),  # 13, numeric inverses
    "maf": lambda: flows.maf(dim=2, depth=2, width=8, rng=1),  # 4
}


def scrambled(flow, scale=0.1):
    """The flow with parameters that are not those of the identity."""
    theta = flow.ravel()
    flow.unravel(theta + scale * np.random.default_rng(5).standard_normal(len(theta)))
    return flow


@pytest.fixture(params=MAKERS, scope="module")
def flow(request):
    return scrambled(MAKERS[request.param]())


def rows_of(figure):
    """The visible axes of the upper and of the lower row."""
    n = len(figure.axes) // 2
    return [[a for a in row if a.get_visible()] for row in (figure.axes[:n], figure.axes[n:])]


def shown(axis):
    """The density that a panel shows, and the area of its pixels."""
    image = axis.images[0]
    left, right, bottom, top = image.get_extent()
    return np.asarray(image.get_array()), (right - left) * (top - bottom) / image.get_array().size


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# What flow_steps shows


def test_every_panel_integrates_to_one(flow):
    """A missing log-determinant, or layers in another order, would not leave every integral one."""
    upper, _ = rows_of(plot.flow_steps(flow, extent=9, n_panels=4, resolution=200))
    for axis in upper:
        density, area = shown(axis)
        assert density.sum() * area == pytest.approx(1, abs=2e-3), axis.get_title()


def test_the_first_panel_is_the_base_and_the_last_the_flow(flow):
    upper, _ = rows_of(plot.flow_steps(flow, extent=(-4, 5, -3, 4), resolution=30))
    across, up = -4 + 9 * (np.arange(30) + 0.5) / 30, -3 + 7 * (np.arange(30) + 0.5) / 30
    for axis, log_prob in ((upper[0], flow.base.log_prob), (upper[-1], flow.log_prob)):
        density = shown(axis)[0]
        for row, column in ((0, 0), (3, 25), (17, 11), (29, 2)):
            expected = np.exp(log_prob([across[column], up[row]]))
            assert density[row, column] == pytest.approx(expected, rel=1e-9)


def test_a_panel_is_where_draws_of_its_layers_go():
    """Layers of different scale, which any other order or number of them would show."""
    layers = [flows.LULinear(2) for _ in range(3)]
    for layer, shift in zip(layers, ([1.0, 0.0], [0.0, 1.0], [-2.0, 0.5]), strict=True):
        layer.parameters["shift"][:] = shift
        layer.parameters["log_diagonal"][:] = -0.5
    figure = plot.flow_steps(flows.Flow(flows.Chain(layers)), extent=6, resolution=120)
    z = np.zeros((1, 2))
    for k, axis in enumerate(rows_of(figure)[0]):
        density, _ = shown(axis)
        row, column = np.unravel_index(density.argmax(), density.shape)
        centre = -6 + 12 * (np.array([column, row]) + 0.5) / 120
        assert np.abs(centre - z[0]).max() <= 0.051, k
        if k < 3:
            z = layers[k].forward(z)[0]


def test_grid_lines_are_carried_forward(flow):
    _, lower = rows_of(plot.flow_steps(flow, n_panels=3, resolution=10))
    lines = [np.array(axis.collections[0].get_segments()) for axis in lower]
    start = lines[0]
    upright, across = start[: len(start) // 2], start[len(start) // 2 :]
    assert np.ptp(upright[:, :, 0], axis=1).max() == 0 < np.ptp(upright[:, :, 1], axis=1).min()
    assert np.ptp(across[:, :, 1], axis=1).max() == 0 < np.ptp(across[:, :, 0], axis=1).min()
    end = flow.forward(start.reshape(-1, 2))[0].reshape(start.shape)
    assert np.abs(lines[-1] - end).max() < 1e-12
    assert np.abs(end - start).max() > 0.1


@pytest.mark.parametrize(
    ("n_panels", "titles"),
    [
        (None, ["base", *(f"layer {k} of 13" for k in (3, 5, 8, 10, 13))]),
        (2, ["base", "layer 13 of 13"]),
        (99, ["base", *(f"layer {k} of 13" for k in range(1, 14))]),
    ],
)
def test_panels_are_evenly_spaced_layers(n_panels, titles):
    figure = plot.flow_steps(MAKERS["planar"](), n_panels=n_panels, resolution=4)
    upper, lower = rows_of(figure)
    assert [axis.get_title() for axis in upper] == titles
    assert len(lower) == len(upper)


def test_spacing_never_repeats_a_layer():
    for depth in range(1, 30):
        for n in range(2, 12):
            counts = [step.k for step in planes.steps(flows.planar(dim=2, depth=depth, rng=0), n)]
            assert len(counts) == min(n, depth + 2) == len(set(counts))
            assert (counts[0], counts[-1]) == (0, depth + 1)


def test_panels_name_their_layer():
    figure = plot.flow_steps(MAKERS["maf"](), resolution=4)
    kinds = [axis.texts[0].get_text() for axis in rows_of(figure)[0]]
    assert kinds == ["Normal", "Autoregressive", "Permutation", "Autoregressive", "Whitening"]


@pytest.mark.parametrize(
    "bijection", [flows.LULinear(2), flows.Chain([flows.Chain([flows.LULinear(2)])])]
)
def test_any_bijection_has_steps(bijection):
    upper, _ = rows_of(plot.flow_steps(flows.Flow(bijection), resolution=4))
    assert [axis.get_title() for axis in upper] == ["base", "layer 1 of 1"]


def test_target_and_data_have_the_last_column():
    moons, f = flows.toys.moons, MAKERS["nsf"]()
    x = moons.sample(50, rng=0)
    plain, target, data, both = (
        rows_of(plot.flow_steps(f, n_panels=3, resolution=40, extent=4, **options))
        for options in ({}, {"target": moons}, {"data": x}, {"data": x, "target": moons})
    )
    assert [(len(upper), len(lower)) for upper, lower in (plain, target, data, both)] == [
        (3, 3), (4, 3), (3, 4), (4, 4),
    ]  # fmt: skip
    assert np.array_equal(both[1][-1].lines[0].get_xydata(), x)
    density, area = shown(both[0][-1])
    assert density.sum() * area == pytest.approx(1, abs=1e-3)
    assert both[0][-1].get_title() == "target"
    assert both[0][-2].images[0].get_clim() == both[0][-1].images[0].get_clim()


def test_a_conditional_flow_is_drawn_at_its_context():
    f = scrambled(flows.planar(dim=2, depth=2, context_dim=1, rng=0))
    at = [plot.flow_steps(f, context=[c], extent=5, resolution=12) for c in (-2.0, 2.0)]
    first, second = (shown(rows_of(figure)[0][-1])[0] for figure in at)
    assert not np.allclose(first, second)
    axis = plot.density(f, 5, context=[2.0], resolution=12)
    assert np.array_equal(shown(axis)[0], second)
    with pytest.raises(ValueError, match="context must be given"):
        plot.flow_steps(f)
    with pytest.raises(ValueError, match="context must be left out"):
        plot.flow_steps(MAKERS["nsf"](), context=[1.0])
    with pytest.raises(ValueError, match="context must be left out"):
        plot.density(flows.toys.u1, 5, context=[1.0])
    with pytest.raises(ValueError, match="context must be left out"):
        plot.density(flows.Normal(2), 5, context=[1.0])
    figure = plot.flow_steps(f, target=f, context=[2.0], extent=5, n_panels=2, resolution=12)
    above = rows_of(figure)[0]
    assert np.array_equal(shown(above[-1])[0], shown(above[-2])[0])


def test_a_figure_of_the_caller_is_used():
    figure = Figure(figsize=(5, 3))
    assert plot.flow_steps(MAKERS["nsf"](), n_panels=2, resolution=4, figure=figure) is figure
    assert tuple(figure.get_size_inches()) == (5, 3)
    assert len(figure.axes) == 4


def test_float32_and_points_outside_the_support_are_drawn():
    positive = flows.Flow(flows.Chain([flows.Elementwise(2, flows.Exp())])).astype("float32")
    image = planes.image(positive, (-1.0, 1.0, -1.0, 1.0), 10)
    assert image.dtype == np.float64
    assert (image[:5] == 0).all()
    assert (image[5:, 5:] > 0).all()
    plot.flow_steps(positive, resolution=10)


# Windows


def test_the_window_holds_nearly_all_mass_of_every_panel(flow):
    for axis in rows_of(plot.flow_steps(flow, n_panels=3))[0]:
        density, area = shown(axis)
        assert 0.99 < density.sum() * area < 1.001
        left, right, bottom, top = axis.images[0].get_extent()
        assert right - left == pytest.approx(top - bottom)


def test_far_data_get_windows_of_their_own():
    f = flows.Flow(flows.Chain([flows.LULinear(2)]))
    f.bijection.layers[0].parameters["shift"][:] = 1000, -5
    data = np.array([[1000.0, 2.0], [1001.0, -5.0]])
    (base, end), _ = rows_of(plot.flow_steps(f, data=data, n_panels=2, resolution=100))
    assert base.get_xlim()[1] < 6
    assert end.get_xlim()[0] > 990
    assert end.get_ylim()[1] > 2
    assert shown(end)[0].sum() * shown(end)[1] == pytest.approx(1, abs=0.01)


def test_data_are_inside_the_window():
    x = np.array([[9.0, 1.0], [-9.0, 2.0], [0.0, 0.0]])
    axis = rows_of(plot.flow_steps(MAKERS["nsf"](), data=x, resolution=4))[1][-1]
    assert axis.get_xlim()[0] < -8
    assert axis.get_xlim()[1] > 8


# Colours


def test_colours_are_white_at_zero_and_darken_evenly():
    """L* of the sRGB colours: CIE 1931, D65."""
    rgb = style.density_colours()(np.linspace(0, 1, 256))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    assert lightness[0] == pytest.approx(100, abs=0.01)
    steps = -np.diff(lightness)
    assert steps.min() > 0.7 * steps.mean()
    assert steps.max() < 1.3 * steps.mean()


def test_the_darkest_colour_is_kept_for_the_densest_mass():
    image = np.full((100, 100), 0.5)
    assert planes.darkest(image) == 0.5
    image[3, 3] = 90.0  # 1.8% of the mass
    assert planes.darkest(image) == 0.5
    image[3, 4] = 90.0
    assert planes.darkest(image) == 90.0
    assert planes.darkest(np.zeros((3, 3))) == 1.0


# One density


@pytest.mark.parametrize("energy", flows.toys.ENERGIES.values(), ids=repr)
def test_energies_are_normalised(energy):
    density, area = shown(plot.density(energy, energy.extent, resolution=200))
    assert density.sum() * area == pytest.approx(1, abs=1e-3)
    density, area = shown(plot.density(lambda x: energy(x), energy.extent, resolution=30))
    assert density.sum() * area == pytest.approx(1, abs=1e-9)


def test_density_draws_in_an_axis():
    axis = Figure().subplots()
    assert plot.density(flows.toys.moons, (-4, 4, -2, 2), axis, resolution=7) is axis
    assert axis.images[0].get_array().shape == (7, 7)
    assert axis.get_box_aspect() == 0.5


def test_densities_without_gradients_are_refused():
    with pytest.raises(ValueError, match="target must return log-densities"):
        plot.density(lambda x: -(x**2).sum(axis=1), 3)


# Errors


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"n_panels": 1}, ValueError, "n_panels must be an integer >= 2, got 1"),
        ({"resolution": 1}, ValueError, "resolution must be an integer >= 2, got 1"),
        ({"extent": -1}, ValueError, "extent must be a number > 0 or"),
        ({"extent": (0, 1, 1, 0)}, ValueError, "extent must be a number > 0 or"),
        ({"extent": (0, 1, 2)}, ValueError, "extent must be a number > 0 or"),
        ({"extent": np.inf}, ValueError, "extent must be finite"),
        ({"data": np.zeros((3, 4))}, ValueError, "data must have 2 columns"),
        ({"data": [[np.nan, 0.0]]}, ValueError, "data must be finite"),
        ({"target": flows.Normal(3)}, ValueError, "target must have dim=2"),
        ({"target": 3}, TypeError, "target must have log_prob or be callable, got 3"),
        ({"context": [1.0]}, ValueError, "context must be left out"),
    ],
)
def test_bad_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        plot.flow_steps(MAKERS["maf"](), **options)


def test_flows_outside_the_plane_are_refused():
    with pytest.raises(ValueError, match=r"flow must have dim=2 .* got dim=3"):
        plot.flow_steps(flows.nice(dim=3, rng=0))
    with pytest.raises(ValueError, match=r"target must have dim=2 .* got dim=1"):
        plot.density(flows.nice(dim=1, rng=0), 1)
    with pytest.raises(TypeError, match=r"flow must be a fastrbm\.flows\.Flow"):
        plot.flow_steps(flows.LULinear(2))


# Training curves


@pytest.fixture(scope="module")
def results():
    x = flows.toys.circles.sample(300, rng=0)
    f = flows.maf(dim=2, depth=1, width=4, rng=0)
    fit = f.fit(x[:200], n_epochs=3, validation_data=x[200:], rng=1)
    energy = flows.planar(dim=2, depth=2, rng=0)
    towards = energy.fit_energy(flows.toys.u1, n_steps=400, batch_size=16, rng=1)
    empty = flows.maf(dim=2, depth=1, width=4, rng=0).fit(x, n_epochs=0, rng=1)
    return {"fit": fit, "energy": towards, "empty": empty}


@pytest.mark.parametrize(
    ("which", "unit", "losses", "strips"),
    [
        ("fit", "epoch", ["nll", "validation_nll"], {"rate": "learning_rate"}),
        ("energy", "step", ["objective"], {"ess": "ess", "rate": "learning_rate"}),
        ("empty", "epoch", ["nll"], {}),
    ],
)
def test_history_shows_the_record(results, which, unit, losses, strips):
    result = results[which]
    axis = plot.history(result)
    for line, name in zip(axis.lines, losses, strict=False):
        assert np.array_equal(line.get_xdata(), result.history[unit])
        assert np.array_equal(line.get_ydata(), result.history[name])
    small = {other.get_ylabel(): other for other in axis.figure.axes if other is not axis}
    assert list(small) == list(strips)
    for label, name in strips.items():
        assert np.array_equal(small[label].lines[0].get_ydata(), result.history[name])
        assert small[label].get_shared_x_axes().joined(small[label], axis)
    assert axis.figure.axes[-1].get_xlabel() == unit


def test_history_marks_the_best_weights(results):
    for which, monitor in (("fit", "validation_nll"), ("energy", "objective")):
        dot = plot.history(results[which]).lines[-1]
        assert dot.get_ydata() == [results[which].history[monitor].min()]


def test_history_cuts_off_the_start_alone():
    nll = np.concatenate([[1e4, 50.0], np.linspace(3, 2, 18)])
    history = {"epoch": np.arange(1.0, 21.0), "nll": nll}
    axis = plot.history(flows.FlowResult(None, history, {"best": 20}, {}))
    low, high = axis.get_ylim()
    assert 1.8 < low < 2 < 3 < high < 3.2
    assert np.array_equal(axis.lines[0].get_ydata(), nll)


def test_history_shares_the_place_of_an_axis(results):
    left, right = Figure(layout="constrained").subplots(1, 2)
    assert plot.history(results["fit"], right) is right
    left.figure.canvas.draw()
    small = left.figure.axes[-1]
    assert small.get_position().y1 < right.get_position().y0
    assert small.get_position().x0 > left.get_position().x1


def test_history_refuses_what_it_cannot_show(results):
    with pytest.raises(TypeError, match=r"result must be a fastrbm\.flows\.FlowResult"):
        plot.history(results["fit"].history)
    with pytest.raises(ValueError, match="axis must be one of a grid of subplots"):
        plot.history(results["fit"], Figure().add_axes((0, 0, 1, 1)))


# matplotlib


def test_pyplot_is_not_imported(tmp_path):
    done = run_python(
        "import sys, pathlib\n"
        "from fastrbm import flows, plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "f = flows.nice(dim=2, rng=0)\n"
        "plot.flow_steps(f, resolution=4).savefig(sys.argv[1])\n"
        "x = flows.toys.moons.sample(9, rng=0)\n"
        "plot.history(f.fit(x, n_epochs=1, rng=0)).figure.savefig(sys.argv[1])\n"
        "plot.density(f, 3, resolution=4)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n",
        tmp_path / "steps.png",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call", ["flow_steps(f)", "density(f, 3)", "history(None)"])
def test_without_matplotlib_the_error_says_how_to_get_it(call):
    done = run_python(
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from fastrbm import flows, plot\n"
        "f = flows.nice(dim=2, rng=0)\n"
        "try:\n"
        f"    plot.{call}\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert done.stdout.strip() == (
        "fastrbm.plot needs matplotlib: python -m pip install 'fastrbm[plot]'"
    ), done.stderr


# The gallery


def test_the_gallery_makes_its_pictures(tmp_path):
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "new/folder"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "new/folder").iterdir())
    names = ["nsf_eight_gaussians", "planar_u1", "real_nvp_u1", "training"]
    assert [path.name for path in files] == [f"{name}.png" for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    assert [line.split()[0] for line in done.stdout.splitlines()] == names[:3]
