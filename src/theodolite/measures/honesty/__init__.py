"""Does the model know, say so, and refuse where it should?"""
