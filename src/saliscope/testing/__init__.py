"""The contract suites that plugin authors run."""
