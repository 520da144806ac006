"""Who wins? Matches between models, ratings, tournaments, win rates."""
