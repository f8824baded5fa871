"""The page that tells of a result to people without napari."""
