"""What a clinic decides about a patient: protocol, screening, course, numbing, care. Pure."""
