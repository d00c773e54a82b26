"""Conversions to the COCO layout."""
