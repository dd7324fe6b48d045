"""Facts: model and GPU catalogue, hub look-up, hardware detection."""
