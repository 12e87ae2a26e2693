"""What the forkserver imports once, so that every process forked from it has it at no cost. Imports only; starts nothing."""

import aiohttp.web
import numpy as np
import torch
import torch.func
import uvloop

import learning.evolution.learner
import learning.models.evaluator
import learning.tasks.digits
import node.processes.learner
import node.processes.puzzle
import node.runtime.assembly

__all__ = ["aiohttp", "learning", "node", "np", "torch", "uvloop"]
