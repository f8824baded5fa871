"""What the docks share: their base class, forms, tables, legends, plots, saving."""
