"""A game of chance: everything that can fail fails while work runs, several things at once, by a seed."""
