"""Several masters that share one fleet: who keeps which worker, and what they tell each other.

A master that is alone uses nothing of this.
"""
