"""Gradients of peers that do not wait for one another, judged alike by everybody in the order that all share.

Room: what is agreed on (`ledger`, with the forms and rules of `learning.aggregation`), what a
worker computes (`worker`), and the learners that join them. Never: consensus, sockets, files, the clock.
"""
