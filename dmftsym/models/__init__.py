"""The library, in the public language only: a model is a function `build(**structure)` that returns a `Model`."""
