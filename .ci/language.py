"""Check of the project's texts: docstrings, comments, messages, help, the dataset card and the pages.

    python .ci/language.py [FILE ...]

Prints `file:line: problem` for each finding and exits with 1 if there are any. Without arguments it checks the package,
the pages and the changelog.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ("kinetics.py", "tools/**/*.py", "tools/**/*.j2", "examples/*.py", ".ci/*.py")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/*.md")
MAX_WORDS = 30
MAX_CHANGELOG_WORDS = 20

# Pattern of a term -> the term to use. Patterns ignore upper and lower case.
TERMS = {
    r"absent|lacking|annotated without a file": "missing",
    r"strangers?|not annotated|extra (?:clips?|files?|members?|archives?)": "unannotated",
    r"damaged?|no good|cuts? off|cannot be opened|could not be opened": "corrupt, truncated, unreadable or empty",
    r"mend(?:s|ed|ing)?": "fix, repaired or replaced",
    r"(?:go|goes|gone|going|went) on": "resume or continue",
    r"ask(?:s|ed)? again|tr(?:y|ies|ied) (?:again|once more)|once more|patiently": "retry",
    r"(?:leav(?:e|es|ing)|left)(?: \w+){0,4} out|pass(?:es|ed|ing) over": "skip, drop or omit",
    r"(?:hold|holds|held|holding) [^.;]{0,60}?against": "check against",
    r"folders? to make|(?-i:OUT)(?!/)": "output directory",
    r"bring(?:s|ing)?|brought": "publish, upload or commit; for other things: add, give, cause",
    r"whoever|for who|that what|of which": "a noun as the subject",
    r"in force": "takes effect or is in use",
    r"as (?:it|they) comes?|(?<!soon )(?<!long )as (?:it is|they are)": "by default or unchanged",
    r"(?:how|so) many": "number of ...",
    r"of the order of": "for the order of",
    r"the one behind the last|END left out": "half-open range START:STOP",
    r"rows of pixels|pixel rows": "height, short side or resolution",
    r"call (?:was|is) wrong": "usage error",
    r"anew": "again, or rebuilt",
    r"(?:costs?|bears?) (?:itself|its own|each other)": "is skipped",
    r"(?<!there )(?:is|are) no(?! longer| more)(?= )": "is not a",
    r"in the place of": "instead of",
}
OPENINGS = r"(?:What|Of|Whether|Those|How|Why|For|As|The same)\b"

# (end of a path, text found) -> why it may stay.
EXCEPTIONS = {
    ("preparation/report.py", "absent"): "a field that prepare.json stores",
    ("youtube/errors.py", "try again"): "messages of YouTube to recognize",
    (".ci/language.py", ""): "the terms themselves",
}

_TERM = re.compile("|".join(rf"(?P<t{n}>(?<![\w-])(?:{one})(?![\w-]))" for n, one in enumerate(TERMS)), re.IGNORECASE)
_CODE = re.compile(r"``[^`]+``|`[^`\n]+`|\"\w+\"|'\w+'")
_ITEM = re.compile(r"(?m)^(?=\s*(?:[-*] |[\w, .*]+: ))")
_SENTENCE_END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])[\"')]*\s+|\n\s*\n|:\n")
_SPOKEN = re.compile(r"\S*[A-Za-z]\S*")


def words_of(text: str, line: int) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for each term that the glossary replaces; quoted words and code do not count."""
    plain = _CODE.sub(lambda found: re.sub(r"\S", "_", found[0]), text)
    for found in _TERM.finditer(re.sub(r"\s", " ", plain)):
        use = list(TERMS.values())[int((found.lastgroup or "t0")[1:])]
        yield line + text.count("\n", 0, found.start()), f"{found[0]!r}: use {use}"


def sentences_of(text: str) -> Iterator[str]:
    """Yield the sentences of a docstring, without examples; an item of a list begins a sentence."""
    prose = re.sub(r"(?m)^\n(?: {4}.*\n?)+|^>>>.*(?:\n.+)*", "\n", text)
    for item in _ITEM.split(prose):
        yield from (one for one in _SENTENCE_END.split(item) if one.strip())


def check_docstring(text: str, line: int) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for an opening, terms and sentences that the rules exclude."""
    if found := re.match(OPENINGS, text):
        yield line, f"docstring opens with {found[0]!r}: say what it is or does"
    for sentence in sentences_of(text):
        if (count := len(_SPOKEN.findall(_CODE.sub("code", sentence)))) > MAX_WORDS:
            yield line, f"sentence of {count} words: {' '.join(sentence.split())[:60]}..."
    yield from words_of(text, line)


def check_python(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) of docstrings, other strings of several words, and comments."""
    docstrings = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                docstrings.add(node.body[0].value)  # type: ignore[attr-defined]
                yield from check_docstring(text, node.body[0].lineno)
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and node not in docstrings else None
        if isinstance(text, str) and " " in text.strip():
            yield from words_of(text, node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from words_of(token.string, token.start[0])


def check_page(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) of a page in Markdown, without its blocks of code."""
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", lambda found: "\n" * found[0].count("\n"), source)
    yield from words_of(prose, 1)


def check_changelog(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) of a changelog, whose entries are short."""
    yield from check_page(source)
    for found in re.finditer(r"(?ms)^- (.*?)(?=\n- |\n\n|\Z)", source):
        if (count := len(found[1].split())) > MAX_CHANGELOG_WORDS:
            yield source.count("\n", 0, found.start()) + 1, f"entry of {count} words"


def check(name: str, source: str) -> list[tuple[int, str]]:
    """Return (line, problem) of a file, by its name, without the exceptions."""
    if name.endswith("CHANGELOG.md"):
        found = check_changelog(source)
    else:
        found = check_python(source) if name.endswith(".py") else check_page(source)
    excepted = [text for end, text in EXCEPTIONS if name.endswith(end)]
    return sorted(one for one in found if not any(text.lower() in one[1].lower() for text in excepted))


def main(names: list[str]) -> int:
    """Print the problems of files, by default all, and return their number, at most 1."""
    paths = [Path(name) for name in names] or sorted(path for pattern in CODE + PAGES for path in ROOT.glob(pattern))
    lines = [f"{path}:{line}: {text}" for path in paths for line, text in check(path.as_posix(), path.read_text())]
    print("\n".join(lines) or f"no findings in {len(paths)} files")
    return min(len(lines), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
