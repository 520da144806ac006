"""Can a judge be trusted? Judges, reward models, checkers and classifiers against people."""
