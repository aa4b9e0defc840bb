"""Model folders: save, load, import, export and inspect the weights of encoders."""
