"""A page that shows a result to people without napari."""
