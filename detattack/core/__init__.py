"""Types and tools that every other room uses: boxes, categories, errors, files, processes, numerical precision."""
