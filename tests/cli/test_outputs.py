"""Files that commands write: no file of the user is overwritten."""

import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import app

# What users have at hand: annotations, a report of another program, notes.
FILES = {
    "train.csv": "label,youtube_id,time_start,time_end,split\nabseiling,_4YTwq0-73Y,15,25,train\n",
    "other.json": '{"release": "1.0", "results": {}}\n',
    "list.json": "[1, 2]\n",
    "notes.txt": "700\n",
}
COMMANDS = {
    "infos": ["infos", "{file}"],
    "evaluate --report": ["evaluate", "400", "p.json", "--report", "{file}"],
    "evaluate --confusion": ["evaluate", "400", "p.json", "--confusion", "{file}"],
    "verify --report": ["verify", "400", ".", "--report", "{file}"],
    "verify --csv": ["verify", "400", ".", "--csv", "{file}"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_the_command_did_not_write_stays(folder, command, name):
    (folder / name).write_text(FILES[name])
    done = CliRunner().invoke(app, [word.format(file=name) for word in COMMANDS[command]])
    assert done.exit_code == 2, done.output
    assert f"{name} exists, and is not an earlier output of this command; move it or pass another name" in done.output
    assert (folder / name).read_text() == FILES[name]


@pytest.mark.parametrize(
    ("words", "options"),
    [(["evaluate", "400", "p.json"], ("--report", "--confusion")), (["verify", "400", "."], ("--report", "--csv"))],
)
def test_two_outputs_are_two_files(folder, words, options):
    outputs = zip(options, ("out", f"../{folder.name}/out"), strict=True)
    done = CliRunner().invoke(app, [*words, *(word for pair in outputs for word in pair)])
    assert done.exit_code == 2, done.output
    assert "/out is given for two outputs; name a file for each" in done.output
    assert not (folder / "out").exists()
