"""The shell: ``app`` takes commands, ``tables`` prints."""
