"""The command line: asks study and shows."""
