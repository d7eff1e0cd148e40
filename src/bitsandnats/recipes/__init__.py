"""Front doors: sample, then estimate; one a file."""
