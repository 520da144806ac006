"""What did turning the model change, and at what price? Before and after on the same prompts."""
