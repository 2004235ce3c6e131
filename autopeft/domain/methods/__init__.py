"""PEFT's methods: their fields and defaults, their sizes, where they go in a model."""
