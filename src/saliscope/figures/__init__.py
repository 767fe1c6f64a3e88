"""Pictures and pages: the only place with colour."""
