"""One file a question. Pure functions of evidence: no model, no file, no printing; chance in an explicit generator."""
