"""How fast Hetuflow is, against what the machine could do: `make bench`. One module for each question."""
