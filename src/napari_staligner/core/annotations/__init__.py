"""Regions that people name on the tissue: classes, edits, agreement, and transfer."""
