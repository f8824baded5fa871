"""How good an integration is: figures, methods to compare with, and all in one call."""
