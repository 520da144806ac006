"""One file a protocol: what a model is asked, and which records its answers become."""
