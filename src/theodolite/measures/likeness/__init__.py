"""Is the inside of a model like another's, or like a person? Geometry, ratings, reading times, brains."""
