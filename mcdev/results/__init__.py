"""What a run leaves behind: its tree and file, its folder of chunks, its record, and how it is resumed."""
