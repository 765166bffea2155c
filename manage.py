#!/usr/bin/env python
"""Run Hetuflow's management commands."""

import sys

from hetuflow.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
