"""Dataset card of prepared clips."""

from kinetics_tools.preparation.card.body import CLASS_CHART, CONTACT_SHEET, PICTURE_FOLDER
from kinetics_tools.preparation.card.header import (
    annotation_features,
    card_patterns,
    check_header,
    is_named,
)
from kinetics_tools.preparation.card.write import (
    CARD_NAME,
    check_output,
    has_text,
    is_ours,
    make_card,
    make_placeholder,
    write_card,
)

__all__ = [
    "CARD_NAME",
    "CLASS_CHART",
    "CONTACT_SHEET",
    "PICTURE_FOLDER",
    "annotation_features",
    "card_patterns",
    "check_header",
    "check_output",
    "has_text",
    "is_named",
    "is_ours",
    "make_card",
    "make_placeholder",
    "write_card",
]
