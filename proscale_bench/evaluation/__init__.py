"""Metrics of predictions: PQ, AP and mIoU, equal to the reference tools to the last digit."""
