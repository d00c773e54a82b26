"""What models are evaluated on: COCO folders, files in COCO's formats, and Shapes, the embedded data."""
