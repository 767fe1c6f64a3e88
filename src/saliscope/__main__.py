"""`python -m saliscope` is the command `saliscope`."""

from saliscope.cli.main import main

if __name__ == "__main__":
    main()
