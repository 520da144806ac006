"""Do raters agree? Agreement and reliability of judgements of the same items, and how columns go together."""
