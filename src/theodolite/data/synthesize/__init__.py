"""Prompt sets of our own, built from written topics; `instructions.build` makes the verifiable ones."""
