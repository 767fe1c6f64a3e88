"""Pictures and pages: the only place with colour, and the only place that resamples a map."""

from saliscope.figures.overlay import overlay, overlay_png
from saliscope.figures.page import CaseLink, CasePage, index_page, page, thumbnail
from saliscope.figures.place import placed
from saliscope.figures.reading import Reading, interpret

__all__ = [
    "CaseLink",
    "CasePage",
    "Reading",
    "index_page",
    "interpret",
    "overlay",
    "overlay_png",
    "page",
    "placed",
    "thumbnail",
]
