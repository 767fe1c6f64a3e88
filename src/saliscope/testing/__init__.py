"""The contract suites that plugin authors run."""

from saliscope.testing.contract import CHECKS, ContractViolation, check_method

__all__ = ["CHECKS", "ContractViolation", "check_method"]
