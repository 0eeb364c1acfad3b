"""The nouns and tools that every room shares: types, boxes, categories, errors, files, processes, precision."""
