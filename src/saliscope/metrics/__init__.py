"""One paper, one file; the catalogue lists names, fields and traits without torch."""

from saliscope.core.errors import MetricError
from saliscope.core.metric import Metric
from saliscope.core.registry import Registry

METRICS: Registry[Metric] = Registry(
    kind="metric",
    table={},
    group="saliscope.metrics",
    error=MetricError,
)
