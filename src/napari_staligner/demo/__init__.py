"""The main job in a window, and a tour of all docks for the pictures."""
