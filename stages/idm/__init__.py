"""The inverse dynamics model, (s, s') → a: reads real transitions, writes `models/<dataset>/idm.safetensors`."""
