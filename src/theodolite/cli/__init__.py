"""The command line: thin. One file a verb; heavy imports happen inside the verbs."""

from theodolite.cli.app import main

__all__ = ["main"]
