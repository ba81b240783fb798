"""Command lines speak in one style: every option explained, a version, errors in one sentence."""

import argparse
import re
import runpy
import subprocess
import sys

import pytest
from conftest import ROOT

from fourdcrystal import __version__, commandline
from fourdcrystal.errors import InputError

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py") if path.name != "train.py")  # Hydra's


class Parsing(Exception):
    """Stops a script where it would read its command line."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_of_a_script_is_explained_and_a_default_that_says_nothing_is_not_shown(script, monkeypatch):
    def parse(parser, *_):
        raise Parsing(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    with pytest.raises(Parsing) as stopped:
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
    parser = stopped.value.args[0]
    assert parser.description and parser.description.endswith(".")
    for action in parser._actions:
        assert action.help, f"{script}: {action.option_strings or action.dest} has no help"
    text = parser.format_help()
    assert "--version" in text and not re.search(r"\(default: *(None|False|\()", text)


@pytest.mark.parametrize("command", [["-m", "fourdcrystal"], ["scripts/verify.py"], ["scripts/train.py"]])
def test_a_command_line_tells_its_version_and_refuses_unknown_options_with_status_two(command):
    ran = subprocess.run([sys.executable, *command, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"4D-Crystal {__version__}\n", "")
    if "scripts/train.py" in command:
        return  # Hydra reads the rest
    ran = subprocess.run([sys.executable, *command, "--no-such-option"], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1 and "--help" in ran.stderr


@pytest.mark.parametrize("words, said", [
    ("experiment=nothere", "experiment/nothere: no such configuration; allowed are .*demo"),
    ("nosuchkey=1", "Could not override 'nosuchkey', there is no such setting"),
    ("optimiser.learning_rate=-1", "optimiser.learning_rate is -1, but should be greater than 0"),
    ("a=[", "no viable alternative|mismatched input"),
])  # fmt: skip
def test_a_training_that_can_not_be_composed_is_one_sentence_too(tmp_path, words, said):
    command = [sys.executable, "scripts/train.py", words, f"paths.output={tmp_path / 'out'}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.match(f"error: .*({said})", ran.stderr) and ran.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "x", "", "9" * 5000, "٣.١"])
def test_a_number_of_things_is_a_whole_number_from_one(text):
    assert commandline.count("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="allowed are whole numbers from 1"):
        commandline.count(text)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "x", ""])
def test_a_size_is_a_finite_number_above_zero(text):
    assert commandline.positive("1e-3") == 1e-3
    with pytest.raises(argparse.ArgumentTypeError, match="allowed are numbers above 0"):
        commandline.positive(text)


def test_a_user_s_mistake_is_one_sentence_on_stderr_and_a_mistake_of_ours_a_traceback(capsys):
    def refused():
        raise InputError("specimen.box: 3 Å is too small")

    with pytest.raises(SystemExit) as left:
        commandline.run(refused)
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: specimen.box: 3 Å is too small\n"
    with pytest.raises(ZeroDivisionError):
        commandline.run(lambda: 1 / 0)


def test_an_output_that_can_not_be_written_is_one_sentence_and_not_a_traceback(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    # below a file; where a folder is; where there can't be any
    for output in (tmp_path / "file" / "inside.json", tmp_path, tmp_path / "nothere" / "file"):
        with pytest.raises(SystemExit) as left:
            commandline.run(lambda output=output: output.write_text("{}"))
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {output}: can't be used (") and said.count("\n") == 1


def test_a_reader_that_has_seen_enough_ends_a_command_line_silently():
    code = "from fourdcrystal import commandline; commandline.run(lambda: print('line\\n' * 1_000_000))"
    shell = f'{sys.executable} -c "{code}" | head -1; echo ${{PIPESTATUS[0]}}'
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("line\n141\n", "")


def test_an_interrupted_command_line_ends_with_the_shell_s_status_for_it(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as left:
        commandline.run(interrupted)
    assert left.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_third_parties_warnings_do_not_reach_the_user_of_a_command_line():
    code = "from fourdcrystal import commandline; import warnings; commandline.run(lambda: warnings.warn('noise'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
    shown = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True).stderr
    assert "noise" in shown
