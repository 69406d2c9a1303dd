"""Sentences that a reader of a page has to know: what a source lacks, and what could not be read."""

import pyarrow.compute as pc

from kinetics_tools.viewing.clips import Clips


def notes_of(clips: Clips) -> list[str]:
    """Return sentences about the clips of a source, those about unreadable parts first."""
    table, notes = clips.table, list(clips.problems)
    is_present = pc.equal(table["status"], "present")
    present = pc.sum(is_present).as_py() or 0
    if not len(table):
        notes.append("There are no clips: neither annotated ones nor files.")
    elif not present:
        notes.append("No clip is present: see the reasons below.")
    elif not pc.any(pc.and_(is_present, pc.is_valid(table["label"]))).as_py():
        notes.append("No clip has a label, so there are no classes.")
    if clips.kind == "prepared" and 0 < present < len(table):
        notes.append("Prepared shards do not tell the class of a missing clip; --annotations gives it.")
    return notes
