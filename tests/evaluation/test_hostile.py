"""Files of predictions that are far larger or deeper than any."""

import pytest

from kinetics_tools.evaluation import read_predictions


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "p.csv",
            "youtube_id,label,score\n" + "x" * 2_000_000,
            r"not valid CSV \(a line has over 1,048,576 characters\)",
        ),
        ("p.csv", "youtube_id," + "x," * 400_000 + "\n", "has several columns 'x'; keep one"),
        ("p.json", '{"results": ' + "[" * 100_000, r"not valid JSON \(maximum recursion depth"),
        ("p.json", '{"results": {"a": ' + '{"b":' * 100_000, r"not valid JSON \(maximum recursion depth"),
        ("p.json", '{"results": {"a": ' + "9" * 5000 + "}}", r"not valid JSON \(A number with too many digits"),
    ],
)
def test_what_no_predictions_have_is_refused_at_once(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_predictions(tmp_path / name, "400")


def test_the_nearest_class_is_searched_for_a_few_unknown_labels_only(tmp_path):
    lines = "".join(f"video{number:06d},zumba {number},0.5\n" for number in range(50))
    (tmp_path / "p.csv").write_text("youtube_id,label,score\n" + lines)
    best, bad = read_predictions(tmp_path / "p.csv", "400")
    assert (best, len(bad)) == ({}, 50)
    assert sum("did you mean 'zumba'?" in reason for reason in bad) == 20
    assert bad[-1] == "video000049: unknown class of 400 'zumba 49'"


@pytest.mark.parametrize(
    "content",
    [
        "youtube_id,label,score\na,{},1\n",
        "youtube_id,label,score\na,zumba,{}\n",
        "youtube_id,label,score\n{},zumba,x\n",
        "youtube_id,label,score\n{},zumba,1\n" * 2,
        "youtube_id,{}\na,1\n",
    ],
)
def test_messages_are_short_lines_whatever_the_values(tmp_path, content):
    (tmp_path / "p.csv").write_text(content.replace("{}", "\x1b" + "x" * 100_000))
    try:
        _, messages = read_predictions(tmp_path / "p.csv", "400")
    except ValueError as error:
        messages = [str(error)]
        assert messages[0].startswith(f"{tmp_path / 'p.csv'}: ")
    assert messages
    for message in messages:
        assert message.isprintable()
        assert len(message) < 1000
