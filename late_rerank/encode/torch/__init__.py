"""All that needs the extra `torch`: checkpoints that are loaded, compiled, or run on a GPU."""
