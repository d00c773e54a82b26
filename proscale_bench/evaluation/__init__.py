"""What predictions are worth: PQ, AP and mIoU, equal to the reference tools to the last digit."""
