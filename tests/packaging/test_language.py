"""The check of the language: it finds each kind of fault, and lets plain sentences pass."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "language.py"
LANGUAGE = runpy.run_path(str(SCRIPT))

FAULTS = {
    "missing": ["clips that are absent", "lacking a header", "annotated without a file"],
    "unannotated": ["two strangers", "a clip is not annotated", "3 extra clips"],
    "corrupt": ["a damaged file", "the damage", "really no good", "it is cut off", "it cannot be opened"],
    "fix": ["mend that and rerun", "a mended clip"],
    "resume": ["run it to go on", "an earlier run is gone on with", "it goes on where it stopped"],
    "retry": ["ask again", "try once more", "try it: try again", "read it once more", "waits patiently"],
    "omit": ["leave it out", "leave one of them out", "clips are left out", "it passes over links"],
    "check against": ["Hold a tree of clips against the annotations"],
    "output directory": ["Folder to make", "maximum size of OUT"],
    "publish": ["one commit brings the card", "bytes that the network brought"],
    "a noun": ["for whoever reads", "for who waits", "clips of which nothing is known"],
    "takes effect": ["the card in force"],
    "unchanged": ["copied as it is", "links stay as they are", "the order as it comes"],
    "number of": ["how many clips", "so many workers"],
    "for the order of": ["Seed of the order of clips"],
    "START:STOP": ["the one behind the last", "0:16, END left out"],
    "height": ["256 rows of pixels"],
    "usage error": ["2: the call was wrong"],
    "again": ["caches are made anew"],
    "skipped": ["a crash costs itself alone"],
    "is not a": ["the file is no report", "these are no clips"],
    "instead of": ["frames in the place of clips"],
}
GOOD = (
    "Return the frames at `indices`, in their order.",
    "Existing trees are completed in place; there is no file without a class.",
    'Missing clips are skipped as soon as it is known; the reason is stored as `absent`, or as "absent".',
    "Outcomes go onto disk; the outstanding ones are no longer retried, see OUT/ledger.jsonl.",
)


def problems(name, text):
    return [problem for _, problem in LANGUAGE["check"](name, text)]


@pytest.mark.parametrize(("use", "text"), [(use, text) for use, texts in FAULTS.items() for text in texts])
def test_a_word_that_the_glossary_replaces_is_found_wherever_users_or_readers_meet_it(use, text):
    for name, source in {
        "a.py": f'def f():\n    """Do it: {text}."""\n',
        "b.py": f'raise ValueError(f"{{name}}: {text}")\n',
        "c.py": f'print("all: {text}")\n',
        "d.py": f'OUT = option("Directory: {text}.")\n',
        "e.py": f"x = 1  # {text}\n",
        "f.md": f"# Title\n\nIn a page, {text}.\n",
    }.items():
        found = problems(name, source)
        assert len(found) == 1, (name, found)
        assert use in found[0]


def test_the_line_of_a_word_is_named():
    source = '"""Title.\n\nMore,\nand damaged\nfiles."""\n\nx = 1\ny = "it is cut\\noff"\n'
    assert [line for line, _ in LANGUAGE["check"]("a.py", source)] == [4, 8]


@pytest.mark.parametrize("text", GOOD)
def test_plain_sentences_pass(text):
    assert problems("a.py", f"'''{text}'''\n") == problems("a.md", text) == []


@pytest.mark.parametrize("opening", ["What", "Of", "Whether", "Those", "How", "Why", "For", "As", "The same"])
def test_a_docstring_does_not_open_with_a_relative_word(opening):
    (found,) = problems("a.py", f'class A:\n    """{opening} it holds."""\n')
    assert found.startswith(f"docstring opens with '{opening}'")


@pytest.mark.parametrize("opening", ["Format", "Assert", "Offer", "Howl", "Thesame"])
def test_other_words_that_begin_like_one_may_open_it(opening):
    assert problems("a.py", f'class A:\n    """{opening} it."""\n') == []


@pytest.mark.parametrize(
    "text",
    [
        "word " * 31,
        f"Short.\n\n    Args:\n        name: {'word ' * 30}\n        other: short.\n",
        f"Short, e.g. {'word ' * 30}",
    ],
)
def test_a_long_sentence_in_a_docstring_is_found(text):
    (found,) = problems("a.py", f'def f():\n    """{text}"""\n')
    assert found.startswith("sentence of 3")


@pytest.mark.parametrize(
    "text",
    [
        "word " * 30,
        f"{'word ' * 20}. torchvision {'word ' * 20}.",
        f"Short.\n\n    Args:\n        name: {'word ' * 20}\n        other: {'word ' * 20}\n",
        f"Short:\n\n    - {'word ' * 20}\n    - {'word ' * 20}\n",
        f"Short.\n\n    >>> {'word ' * 40}\n    {'word ' * 40}\n\n        code {'word ' * 40}\n",
    ],
)
def test_short_sentences_lists_and_examples_pass(text):
    assert problems("a.py", f'def f():\n    """{text}"""\n') == []


def test_code_in_pages_is_skipped_and_the_line_after_it_is_right():
    page = "Text.\n\n```sh\nrm damaged  # it is cut off\n```\n\nThe file is damaged, `damaged`.\n"
    assert [line for line, _ in LANGUAGE["check"]("docs/a.md", page)] == [7]


def test_entries_of_the_changelog_are_short():
    assert problems("CHANGELOG.md", f"- {'word ' * 20}\n- {'word ' * 21}\n  word\n\n- short\n") == ["entry of 22 words"]


def test_an_exception_holds_for_its_file_alone():
    source = '"""Words: absent, damaged."""\n'
    assert len(problems("a.py", source)) == 2
    assert len(problems("tools/kinetics_tools/preparation/report.py", source)) == 1
    assert all(LANGUAGE["EXCEPTIONS"].values())


def test_the_script_prints_file_and_line_and_fails(tmp_path):
    (tmp_path / "bad.py").write_text('"""Whether it is."""\nprint("it is damaged")\n')
    (tmp_path / "good.py").write_text('"""Facts."""\n')
    for names, code, lines in ((["bad.py", "good.py"], 1, 2), (["good.py"], 0, 1)):
        command = [sys.executable, SCRIPT, *names]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stdout.splitlines())) == (code, lines)
        assert not code or done.stdout.startswith("bad.py:1: docstring opens with 'Whether'")
