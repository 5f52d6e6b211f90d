"""gpumon beside what people would use instead of it, in one run on one machine: `python -m bench peers`."""
