"""Images and annotations, from files, folders, COCO files and the renderer; image input and output; corruptions."""
