"""The manual in two languages; `generate` writes the pages that the code itself can tell."""
