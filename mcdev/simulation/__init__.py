"""From a configuration to numbers: devices drawn, advanced through a protocol, measured, side by side."""
