"""What users hold, written once over the runtime that a driver supplies."""
