"""The contract suites that plugin authors run."""

from saliscope.testing.contract import CHECKS, ContractViolation, check_method
from saliscope.testing.metric_contract import METRIC_CHECKS, check_metric

__all__ = ["CHECKS", "METRIC_CHECKS", "ContractViolation", "check_method", "check_metric"]
