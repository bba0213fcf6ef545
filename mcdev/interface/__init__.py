"""The command line: commands, what they print, the check of an installation."""
