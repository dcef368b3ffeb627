"""The demonstration: real digits through a real event to the handler, answered and timed (`python -m demo`)."""
