"""Calibration: reported numbers and measured curves in, parameters with error bars out."""
