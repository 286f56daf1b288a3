"""Margins of a certificate: changes of parameters, formats of fewer bits, and rounding of steps."""
