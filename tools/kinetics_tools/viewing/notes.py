"""Sentences that a reader of a page has to know: what a source lacks, and what could not be read."""

import pyarrow.compute as pc

from kinetics_tools.viewing.clips import Clips


def notes_of(clips: Clips) -> list[str]:
    """Return sentences about the clips of a source, those about unreadable parts first."""
    table, notes = clips.table, list(clips.problems)
    present = table.filter(pc.equal(table["status"], "present"))
    if not len(table):
        notes.append("There are no clips: neither annotated ones nor files.")
    elif not len(present):
        notes.append("No clip is present: see the reasons below.")
    elif present["label"].null_count == len(present):
        notes.append("No clip has a label, so there are no classes.")
    if clips.kind == "prepared" and 0 < len(present) < len(table):
        notes.append("Prepared shards do not tell the class of a missing clip; --annotations gives it.")
    return notes
