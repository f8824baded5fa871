"""The docks, one folder each; ``parts`` is what they share."""
