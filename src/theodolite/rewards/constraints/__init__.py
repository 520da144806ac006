"""Checkers of instructions that a program can verify, one file a family; registered as kind 'constraint'.

A checker is `(text, cfg) -> bool`, pure and strict. Ids and option names are those of IFEval (arXiv:2311.07911);
kinds of our own begin with `theodolite:`. Where the official checker is unsound the docstring says what we do.
An empty response fails every constraint: `rules.check` sees to it before a checker is asked.
"""
