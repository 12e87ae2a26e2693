"""Follow the order that peers agree on: a line of commits without forks, or a tree of steps above the final one.

Room: what every kind of learning does with the order: keep, rebuild, adopt, export, restore.
Never: what a step does to the model, or what a peer does in its idle time (learning.evolution, learning.gradient).
"""
