"""Files in general: written whole, checked before they are read, text that no terminal or spreadsheet runs."""
