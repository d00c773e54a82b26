"""Data sets to train and evaluate on: COCO folders, files in COCO's formats, and Shapes, the embedded data."""
