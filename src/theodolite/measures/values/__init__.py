"""Whose values and habits does the model show: opinions, personality, play, principles."""
