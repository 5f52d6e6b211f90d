"""Minutes of things going wrong under a fleet that works, and what is left afterwards."""
