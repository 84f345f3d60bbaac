"""How a session's packets travel on byte streams."""
