"""The docks, one file each. A dock shows the state of the session and sets it."""
