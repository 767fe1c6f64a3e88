"""Do two maps say the same."""
