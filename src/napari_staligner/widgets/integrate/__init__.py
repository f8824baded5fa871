"""The Integrate dock."""
