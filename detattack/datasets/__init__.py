"""Data sets: images from files and folders, COCO data sets, rendered scenes, and image corruptions."""
