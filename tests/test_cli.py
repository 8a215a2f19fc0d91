"""The command line: what it writes, what it says, and its exit codes."""

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastrbm
from fastrbm import cli, demo, evaluation, terminal

PACKAGE = Path(fastrbm.__file__).parent


@pytest.fixture
def digits(tmp_path):
    path = tmp_path / "digits.npy"
    np.save(path, fastrbm.datasets.digits().data)
    return str(path)


@pytest.fixture
def model(tmp_path):
    rbm = fastrbm.RBM(fastrbm.Spin(6), fastrbm.Gaussian(2), rng=1)
    path = tmp_path / "model.npz"
    rbm.save(path)
    return str(path)


def fails(capsys, *arguments):
    """Run a command that must be refused; returns its one line on standard error."""
    code = cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err
    return said.err


# ---------------------------------------------------------------------------------------- train


def test_train_equals_train_cd(digits, tmp_path, capsys):
    output = tmp_path / "m.npz"
    arguments = ["--n-hidden", "8", "--k", "2", "--n-epochs", "3", "--seed", "4", "--persistent"]
    history = tmp_path / "h.npz"
    code = cli.main(["train", digits, "-o", str(output), *arguments, "--history", str(history)])
    assert code == 0
    expected = fastrbm.train_cd(
        np.load(digits), n_hidden=8, k=2, n_epochs=3, rng=4, persistent=True
    )
    assert fastrbm.RBM.load(output) == expected.model
    with np.load(history) as columns:
        assert np.array_equal(columns["pseudo_likelihood"], expected.history["pseudo_likelihood"])
        assert np.array_equal(columns["epoch"], [1, 2, 3])
    said = capsys.readouterr()
    assert "reconstruction_error" in said.out
    assert "epoch 3 of 3" in said.err


def test_train_goes_on_from_a_model(digits, tmp_path):
    first, second = str(tmp_path / "1.npz"), str(tmp_path / "2.npz")
    cli.main(["train", digits, "-o", first, "--n-epochs", "1", "--seed", "1", "--quiet"])
    cli.main(["train", digits, "--model", first, "-o", second, "--n-epochs", "1", "--quiet"])
    assert fastrbm.RBM.load(second) != fastrbm.RBM.load(first)
    assert fastrbm.RBM.load(second).n_hidden == fastrbm.RBM.load(first).n_hidden


def test_train_on_a_key_of_an_npz_with_a_threshold(tmp_path):
    data, output = tmp_path / "grey.npz", tmp_path / "m.npz"
    grey = fastrbm.datasets.digits(values="grey").data.astype(np.uint8)
    np.savez(data, images=grey, labels=np.arange(3))
    arguments = ["train", data, "--key", "images", "--threshold", 8, "-o", output, "--seed", 2]
    assert cli.main([*map(str, arguments), "--quiet", "--n-epochs", "1"]) == 0
    expected = fastrbm.train_cd(fastrbm.datasets.digits().data, n_epochs=1, rng=2)
    assert fastrbm.RBM.load(output) == expected.model


def test_validation_gives_the_free_energy_gap(digits, tmp_path, capsys):
    arguments = ["--validation", digits, "--metrics", "free_energy_gap", "--n-epochs", "1"]
    assert cli.main(["train", digits, "-o", str(tmp_path / "m.npz"), *arguments]) == 0
    assert "free_energy_gap" in capsys.readouterr().out


def test_divergence_keeps_the_last_good_model(digits, tmp_path, capsys):
    output = tmp_path / "m.npz"
    arguments = ["--hidden", "gaussian", "--learning-rate", "1e30", "--n-epochs", "3", "--quiet"]
    assert cli.main(["train", digits, "-o", str(output), *arguments]) == 1
    assert "last good state" in capsys.readouterr().err
    assert np.isfinite(fastrbm.RBM.load(output).weights).all()


def test_interruption_keeps_the_model(digits, tmp_path, capsys, monkeypatch):
    def interrupt(self, state):
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal.ProgressLine, "__call__", interrupt)
    output = tmp_path / "m.npz"
    assert cli.main(["train", digits, "-o", str(output)]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert fastrbm.RBM.load(output).n_visible == 64


# --------------------------------------------------------------------------------------- sample


def test_sample_equals_sample(model, tmp_path):
    options = ["--n-chains", "5", "--n-draws", "3", "--burn-in", "7", "--thin", "2", "--seed", "3"]
    npy, npz = str(tmp_path / "s.npy"), str(tmp_path / "s.npz")
    assert cli.main(["sample", model, "-o", npy, *options]) == 0
    assert cli.main(["sample", model, "-o", npz, *options, "--dtype", "int8"]) == 0
    expected = fastrbm.sample(
        fastrbm.RBM.load(model), n_chains=5, n_draws=3, burn_in=7, thin=2, rng=3
    )
    assert np.array_equal(np.load(npy), expected.visible)
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["visible"], expected.visible)
        assert np.array_equal(arrays["hidden"], expected.hidden)
        assert arrays["visible"].dtype == np.int8


def test_sample_with_start_and_clamp(model, tmp_path):
    start, mask, output = (str(tmp_path / name) for name in ("v.npy", "m.npy", "s.npy"))
    np.save(start, np.ones((4, 6)))
    np.save(mask, [1, 1, 0, 0, 0, 0])
    assert cli.main(["sample", model, "-o", output, "--init", start, "--clamp", mask]) == 0
    drawn = np.load(output)
    assert (drawn[:, :, :2] == 1).all()
    assert (drawn[:, :, 2:] == -1).any()


# ----------------------------------------------------------------------------------------- logz


def test_logz_equals_log_partition(model, capsys):
    assert cli.main(["logz", model]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    z = fastrbm.log_partition(fastrbm.RBM.load(model))
    assert list(shown) == ["log_partition", "error", "method", "reason", "n_states", "seconds"]
    assert float(shown["log_partition"]) == z.value
    assert float(shown["error"]) == pytest.approx(z.error, rel=0.06)
    assert (shown["method"], shown["reason"]) == (z.method, z.reason)
    assert int(shown["n_states"]) == z.n_states


def test_logz_options(model, capsys):
    options = ["--method", "pairwise", "--dtype", "float32", "--beta", "0.5", "--n-threads", "1"]
    assert cli.main(["logz", model, *options, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    z = fastrbm.log_partition(
        fastrbm.RBM.load(model), method="pairwise", dtype="float32", beta=0.5, n_threads=1
    )
    assert (shown["log_partition"], shown["error"]) == (z.value, z.error)
    assert (shown["model"], shown["method"], shown["n_states"]) == (model, "pairwise", z.n_states)
    assert shown["info"]["n_threads"] == 1


def test_logz_refuses_in_one_sentence(model, digits, tmp_path, capsys):
    large = str(tmp_path / "large.npz")
    fastrbm.RBM(fastrbm.Bernoulli(200), fastrbm.Bernoulli(50), rng=0).save(large)
    continuous = str(tmp_path / "continuous.npz")
    fastrbm.RBM(fastrbm.Gaussian(3), fastrbm.Gaussian(2), rng=0).save(continuous)
    refused = [
        ([large, "--max-seconds", 1], "2^50 states"),
        ([large, "--max-seconds", 1e12, "--max-bytes", 1000], "max_bytes"),
        ([model, "--method", "guess"], "method must be"),
        ([model, "--method", "gaussian"], "gaussian"),
        ([model, "--beta", -1], "beta must be"),
        ([model, "--max-seconds", 0], "max_seconds must be"),
        ([continuous, "--method", "split"], "discrete"),
        ([digits], "digits.npy"),
        ([tmp_path / "none.npz"], "none.npz"),
    ]
    for arguments, message in refused:
        assert message in fails(capsys, "logz", *arguments)


def test_logz_without_tqdm(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert "tqdm" in fails(capsys, "logz", model, "--progress")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_logz_ends_within_a_second_of_ctrl_c(tmp_path):
    """A model of hours; one sentence and exit code 130."""
    path = str(tmp_path / "long.npz")
    fastrbm.RBM(fastrbm.Bernoulli(60), fastrbm.Bernoulli(42), rng=0).save(path)
    command = [sys.executable, "-m", "fastrbm", "logz", path, "--max-seconds", "1e9"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        time.sleep(3)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        began = time.perf_counter()
        try:
            out, err = run.communicate(timeout=60)
        finally:
            run.kill()
        assert time.perf_counter() - began < 5  # a second on a machine of one's own
    assert run.returncode == 130
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "interrupted" in err


def test_logz_in_shards_has_the_bits_of_one_run(tmp_path, capsys):
    path = str(tmp_path / "model.npz")
    rng = np.random.default_rng(4)
    weights = rng.normal(0, 0.3, (26, 3))
    rbm = fastrbm.RBM(fastrbm.Spin(26, bias=0.1), fastrbm.Gaussian(3), weights=weights)
    rbm.save(path)
    method = ["--method", "pairwise"]
    parts = [str(tmp_path / f"part{k}.npz") for k in (1, 2, 3)]
    for k, part in enumerate(parts, start=1):
        assert cli.main(["logz", path, *method, "--shards", f"{k}/3", "--partials", part]) == 0
        assert "shards of pairwise" in capsys.readouterr().out
    before = pathlib.Path(parts[0]).read_bytes()
    assert cli.main(["logz", path, *method, "--shards", "1/3", "--partials", parts[0]]) == 0
    assert pathlib.Path(parts[0]).read_bytes() == before  # nothing was left to run
    capsys.readouterr()
    assert cli.main(["logz", path, *method, "--merge", *parts[::-1], "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    z = fastrbm.log_partition(rbm, method="pairwise")
    assert (shown["log_partition"], shown["error"]) == (z.value, z.error)
    refused = [
        (["--merge", *parts[:2]], "each of the"),
        (["--merge", *parts, parts[0]], "each of the"),
        (["--merge", *parts, "--dtype", "float32"], "another sum: dtype 'float64'"),
        (["--merge", *parts, "--beta", 0.5], "another sum: beta 1.0"),
        (["--merge", path], "fastrbm shards"),
        (["--shards", "4/3", "--partials", parts[0]], "K/N"),
        (["--shards", "1/3"], "go together"),
        (["--partials", parts[0]], "go together"),
        (["--shards", "1/3", "--partials", parts[0], "--merge", parts[0]], "one at a time"),
        (["--merge", *parts, "--max-bytes", 1e9], "max-bytes"),
        (["--shards", "1/3", "--partials", tmp_path / "no" / "p.npz"], "cannot write"),
    ]
    for arguments, message in refused:
        assert message in fails(capsys, "logz", path, *method, *arguments)


def test_logz_of_another_model_is_not_continued(model, tmp_path, capsys):
    other, part = str(tmp_path / "other.npz"), str(tmp_path / "part.npz")
    changed = fastrbm.RBM.load(model)
    changed.weights[0, 0] += 1
    changed.save(other)
    assert cli.main(["logz", model, "--shards", "1/1", "--partials", part]) == 0
    before = pathlib.Path(part).read_bytes()
    capsys.readouterr()
    message = fails(capsys, "logz", other, "--shards", "1/1", "--partials", part)
    assert "another sum: model" in message
    assert pathlib.Path(part).read_bytes() == before


def test_interrupted_shards_are_kept_and_continued(model, tmp_path, capsys, monkeypatch):
    part = str(tmp_path / "part.npz")
    whole = evaluation.Shards.run
    arguments = ["logz", model, "--shards", "1/1", "--partials", part]

    def run(self, indices, **options):
        raise fastrbm.Interrupted("interrupted", whole(self, indices[:0]))

    monkeypatch.setattr(evaluation.Shards, "run", run)
    assert cli.main(arguments) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "interrupted" in said.err
    monkeypatch.undo()
    assert cli.main(arguments) == 0
    capsys.readouterr()
    assert cli.main(["logz", model, "--merge", part, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    rbm = fastrbm.RBM.load(model)
    assert (
        shown["log_partition"] == evaluation.Shards(rbm).merge(whole(evaluation.Shards(rbm))).value
    )


# ---------------------------------------------------------------------------------------- bench


def test_bench_refuses_before_work(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.touch()
    (tmp_path / "taken" / "complexity.json").mkdir(parents=True)
    refused = [
        (["--output", blocked], "file"),
        (["--output", blocked / "below"], "below"),
        (["--output", tmp_path / "taken"], "cannot write"),
        (["--output", tmp_path, "--max-seconds", 0], "max_seconds must be"),
        (["--output", tmp_path, "--n-threads", 0], "n_threads must be"),
    ]
    for arguments, message in refused:
        assert message in fails(capsys, "bench", "complexity", *arguments)


# ---------------------------------------------------------------------------------- bad input


def test_bad_data_files(tmp_path, capsys):
    output = tmp_path / "m.npz"
    text = tmp_path / "text.npy"
    text.write_text("1 2 3")
    several = tmp_path / "several.npz"
    np.savez(several, a=np.eye(2), b=np.eye(2))
    single = tmp_path / "single.npy"
    np.save(single, np.eye(2))
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}]), allow_pickle=True)
    empty = tmp_path / "empty.npy"
    empty.touch()
    refused = [
        ([tmp_path / "no.npy"], "no.npy"),
        ([text], "not an .npy or .npz file"),
        ([objects], "not an .npy or .npz file"),
        ([empty], "not an .npy or .npz file"),
        ([tmp_path], "directory"),
        ([several], "holds a, b: choose an array"),
        ([several, "--key", "c"], "holds a, b: there is no 'c'"),
        ([single, "--key", "a"], "has no key 'a'"),
    ]
    for arguments, message in refused:
        assert message in fails(capsys, "train", *arguments, "-o", output)
    assert not output.exists()


def test_damaged_archives(tmp_path, capsys):
    """Truncated anywhere, or with a byte altered in the middle: one line, no traceback."""
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, a=np.arange(3000).reshape(30, 100) % 2)
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.npz"
    middle = len(content) // 2
    pieces = [content[:n] for n in (2, 30, middle, len(content) - 5)]
    pieces.append(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    for piece in pieces:
        damaged.write_bytes(piece)
        assert "damaged.npz" in fails(capsys, "train", damaged, "-o", tmp_path / "m.npz")


def test_history_may_not_replace_the_model(digits, tmp_path, capsys):
    output = tmp_path / "m.npz"
    assert "--history" in fails(capsys, "train", digits, "-o", output, "--history", output)
    assert not output.exists()


def test_the_model_may_not_replace_the_data(digits, capsys):
    before = pathlib.Path(digits).read_bytes()
    assert "overwrite the data" in fails(capsys, "train", digits, "-o", digits)
    assert pathlib.Path(digits).read_bytes() == before


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--version"])
    assert exit.value.code == 0
    assert fastrbm.__version__ in capsys.readouterr().out


def test_validation_rows_show_the_gap(digits, tmp_path, capsys):
    output = str(tmp_path / "m.npz")
    assert cli.main(["train", str(digits), "-o", output, "--validation", str(digits)]) == 0
    assert "free_energy_gap" in capsys.readouterr().out


def test_bad_values_name_the_argument(digits, model, tmp_path, capsys):
    output = tmp_path / "out.npy"
    refused = [
        (["train", digits, "-o", output, "--k", 0], "k must be"),
        (["train", digits, "-o", output, "--learning-rate", -1], "learning_rate must be"),
        (["train", digits, "-o", output, "--visible", "spin"], "data must"),
        (["train", digits, "-o", output, "--model", digits], "digits.npy"),
        (["sample", digits, "-o", output], "digits.npy"),
        (["sample", model, "-o", output, "--beta", "-1"], "beta must be"),
        (["sample", model, "-o", tmp_path / "out.txt"], "must end in .npy or .npz"),
        (["sample", model, "-o", output, "--clamp", digits], "clamp must have"),
    ]
    for arguments, message in refused:
        assert message in fails(capsys, *arguments)
    assert not output.exists()


@pytest.mark.parametrize("command", ["train", "sample", "demo"])
def test_unwritable_output_is_refused_before_work(command, digits, model, tmp_path, capsys):
    for path in (tmp_path / "no" / "file.npz", tmp_path, "/dev/null"):
        arguments = {
            "train": ["train", digits, "-o", path],
            "sample": ["sample", model, "-o", path],
            "demo": ["demo", "--picture", path],
        }[command]
        assert "cannot write" in fails(capsys, *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits.npy", "model.npz"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train"],
        ["train", "x.npy"],
        ["sample", "m", "-o", "s", "--n", "x"],
        ["logz"],
        ["bench"],
        ["bench", "flight"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "usage:" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- the others


@pytest.mark.parametrize("command", ["", "demo", "info", "train", "sample", "logz", "bench"])
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([*command.split(), "--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert "example:" in shown
    assert f"  fastrbm {command}" in shown


def test_examples_of_the_help_parse():
    parser = cli._parser()
    for text in cli.EXAMPLES.values():
        for line in text.splitlines():
            if line.startswith("  fastrbm "):
                parser.parse_args(line.split()[1:])


def test_info(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    for name in ("version", "compiler", "openmp", "simd", "n_threads", fastrbm.__version__):
        assert name in shown


def test_module_and_script_run(tmp_path):
    for command in ([sys.executable, "-m", "fastrbm"], [script()]):
        done = subprocess.run(
            [*command, "info"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert f"{fastrbm.__version__}" in done.stdout


def script():
    """The installed `fastrbm` program."""
    return os.path.join(os.path.dirname(sys.executable), "fastrbm")


def test_missing_compiled_module_is_one_sentence(tmp_path):
    """A checkout that was never built says what to run, and nothing else."""
    shutil.copytree(
        PACKAGE, tmp_path / "fastrbm", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "-m", "fastrbm", "demo"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "python -m pip install -e ." in done.stderr


# ---------------------------------------------------------------------------------------- demo


@pytest.fixture
def short(monkeypatch):
    """The demo's models with two epochs each, and a short sampling run."""
    for recipe in demo.RECIPES:
        monkeypatch.setitem(recipe.options, "n_epochs", 2)
    monkeypatch.setattr(demo, "SAMPLING", {"n_chains": 100, "n_draws": 1, "burn_in": 2})
    monkeypatch.setattr(demo, "N_SWEEPS", 3)


def test_demo_prints_the_table(short, tmp_path, capsys):
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--picture", str(picture)]) == 0
    said = capsys.readouterr()
    for recipe in demo.RECIPES:
        (line,) = [line for line in said.out.splitlines() if line.startswith(recipe.name)]
        numbers = [float(word.replace(",", "")) for word in line.split()[1:]]
        assert len(numbers) == 5
        assert np.isfinite(numbers).all()
        assert f"{recipe.name}: epoch 2 of 2" in said.err
    for word in ("reconstruction", "pseudo-likelihood", "free-energy gap", "seconds", "samples"):
        assert word in said.out


def test_demo_draws_or_says_how_to(short, tmp_path, capsys):
    picture = tmp_path / "demo.png"
    cli.main(["demo", "--picture", str(picture)])
    shown = capsys.readouterr().out
    if picture.exists():
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert str(picture) in shown
    else:
        assert "python -m pip install" in shown


def test_demo_without_matplotlib(short, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastrbm.picture", raising=False)
    monkeypatch.delattr(fastrbm, "picture", raising=False)
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--picture", str(picture)]) == 0
    assert "python -m pip install matplotlib" in capsys.readouterr().out
    assert not picture.exists()


def test_demo_is_reproducible(short, tmp_path, capsys):
    tables = []
    for _ in range(2):
        cli.main(["demo", "--picture", str(tmp_path / "demo.png"), "--seed", "5"])
        lines = capsys.readouterr().out.splitlines()
        tables.append([line.split()[:4] for line in lines if "-" in line.split()[0]])
    assert tables[0] == tables[1]


@pytest.mark.parametrize("terminal_", [True, False])
def test_progress_line(terminal_):
    stream = io.StringIO()
    stream.isatty = lambda: terminal_
    line = terminal.ProgressLine("model", 40, stream)
    history = {"pseudo_likelihood": [-1.25]}
    for epoch in range(1, 41):
        line(type("State", (), {"epoch": epoch, "history": history}))
    text = stream.getvalue()
    assert text.endswith("\n")
    assert "epoch 40 of 40, pseudo likelihood -1.25" in text
    assert text.count("\n") == (1 if terminal_ else 10)
