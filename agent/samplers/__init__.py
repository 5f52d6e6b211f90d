"""Samplers: where readings come from (NVML, nvidia-smi, simulated), and the host around the cards."""
