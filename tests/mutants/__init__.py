"""Deliberate mistakes that the tests must notice: `make mutants`."""
