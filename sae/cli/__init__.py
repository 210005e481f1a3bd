"""The command line: does all that the app does, through the same functions."""
