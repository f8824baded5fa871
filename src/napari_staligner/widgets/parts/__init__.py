"""What several docks share: their base, forms, tables, legends, plots, saving."""
