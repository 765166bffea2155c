"""Golden tables: what the product plans, against an oracle that shares nothing with it."""
