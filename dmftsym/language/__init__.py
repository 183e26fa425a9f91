"""What a user writes: axes, parameters, data, activations, order parameters, sites and the action."""
