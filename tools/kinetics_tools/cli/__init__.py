"""The `kinetics` command."""
