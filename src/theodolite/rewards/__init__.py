"""Scores that drive training: rules that a program can verify. Models and judges that score join here."""
