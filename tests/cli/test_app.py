"""The `kinetics` command: help, version, errors and exit codes."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import kinetics
import kinetics_tools
import kinetics_tools.demo
from kinetics_tools.cli.app import app
from kinetics_tools.cli.options import split_commas


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "mine.txt").touch()
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert re.fullmatch(r"error: .* has other content; .*\n", result.output)


def test_a_file_in_the_place_of_the_sample_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file")])
    assert (result.exit_code, result.output) == (
        2, f"error: {tmp_path / 'file'} is a file; choose a new or empty directory\n"
    )  # fmt: skip


def test_infos_in_a_folder_that_is_not_there_are_an_error_that_says_so(tmp_path):
    result = CliRunner().invoke(app, ["infos", str(tmp_path / "no" / "i.json")])
    message = f"error: {tmp_path}/no/i.json cannot be written: its directory does not exist; create it first\n"
    assert (result.exit_code, result.output) == (2, message)


def test_an_interrupt_is_exit_code_130(monkeypatch, tmp_path):
    def interrupt(out):
        raise KeyboardInterrupt

    monkeypatch.setattr(kinetics_tools.demo, "run_demo", interrupt)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert (result.exit_code, result.output) == (130, "interrupted\n")


PANELS = {"Selection", "Source", "Encoding", "Parallelism", "Output"}
EXAMPLES = {
    (): "kinetics demo --out demo",
    ("demo",): "kinetics demo --out /tmp/kinetics-demo",
    ("download",): "kinetics download 400 --out k400 --split validation --classes zumba",
    ("verify",): 'kinetics verify 400 k400 --split validation --classes "abseiling,zumba"',
    ("prepare",): "kinetics prepare 700 --data-dir k700 --out prepared --split validation",
    ("push",): "kinetics push prepared s3://bucket/kinetics",
    ("evaluate",): "kinetics evaluate 700 submission.json --annotations k700/annotations",
    ("labels",): "kinetics labels 600 --space opengvlab --to sorted",
    ("export",): "kinetics export 400 k400 --for slowfast --out lists --link k400-links",
    ("convert",): "kinetics convert prepared --to webdataset --out k700-wds",
    ("infos",): "kinetics infos infos.json --repo user/kinetics",
}


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_shows_examples_that_can_be_copied_and_no_types_of_flags(command):
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=80, env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert EXAMPLES[command] in map(str.strip, result.stdout.splitlines())
    assert not re.search(r"<bool>|BOOLEAN|list\[", result.stdout)


@pytest.mark.parametrize("verb", ["download", "prepare", "push", "verify"])
def test_help_groups_the_options_in_80_columns(verb):
    result = CliRunner().invoke(app, [verb, "--help"], terminal_width=80, env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    found = {name for name in PANELS if any(line.startswith(f"╭─ {name} ─") for line in lines)}
    assert found == PANELS - {"download": {"Encoding"}, "verify": {"Encoding", "Source"}}.get(verb, set())
    assert max(map(len, lines)) == 80


def test_h_is_help_and_commas_at_an_end_are_harmless():
    for command in ([], ["push"]):
        pages = [CliRunner().invoke(app, [*command, one], terminal_width=80).stdout for one in ("-h", "--help")]
        assert pages[0] == pages[1] != ""
    assert split_commas(["abseiling,", " zumba ,,spinning poi"]) == ["abseiling", "zumba", "spinning poi"]


def test_the_module_of_the_dataset_is_the_command_too():
    done = subprocess.run([sys.executable, "-m", "kinetics", "infos"], capture_output=True, text=True, check=True)
    assert "19,906" in done.stdout


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{kinetics.__version__}\n")


def test_the_list_of_classes_imports_no_slow_library():
    program = (
        "import sys, kinetics_tools.cli.app as one\none.app(['classes', '400', 'abseil'], standalone_mode=False)\n"
    )
    program += "print({'datasets', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "  0  abseiling\nset()\n"
