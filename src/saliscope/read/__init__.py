"""From bytes to MedicalImage: sniff, choose, refuse with a reason; identifiers stay here."""

from saliscope.read.finding import discover, read
from saliscope.read.headers import headers
from saliscope.read.limits import Limits
from saliscope.read.source import Failure, Source

__all__ = ["Failure", "Limits", "Source", "discover", "headers", "read"]
