"""What is drawn over the spots: edges, links, arrows, marks, and what is being drawn."""
