"""Jobs: integrations that run outside the window, each of them a folder."""
