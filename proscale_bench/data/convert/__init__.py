"""Data sets of other layouts, written as COCO's: one file a layout, each giving `SourceSplit`s, and one that writes."""
