"""How good an integration is: figures, what to compare with, and all of them in one call."""
