"""Object detection: goals, objectives, records, scores and COCO files."""
