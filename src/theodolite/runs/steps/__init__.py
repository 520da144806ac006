"""The steps a recipe can take, one file each."""
