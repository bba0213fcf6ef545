"""How state moves in time, free of any device: random numbers and time-stepping schemes."""
