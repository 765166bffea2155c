"""What happens while an installation goes on: a release that is not there yet, made up."""
