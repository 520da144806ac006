"""Exactly known worlds: what the best policy is, and how far each method ends from it.

`world` and `worlds` build finite worlds, `optimum` and `best_of_n` hold the closed forms, `annotators` says what
people in a world would answer, `tabular` trains a softmax table with any registered objective, `frontier` compares
them all and `picture` draws the comparison.
"""
