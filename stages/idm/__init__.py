"""Room 3: the inverse dynamics model, (s, s') → a. Real transitions in, `models/<dataset>/idm.safetensors` out."""
