import sys

from agents.daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
