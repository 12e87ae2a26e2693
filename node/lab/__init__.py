"""Everything that tries the node: faults by name, simulated networks, scenarios, testnets, audits, studies.

Room: it takes honest parts and wraps them, runs them, watches them. Never: imported by any module outside of it; the
command line finds its commands by their names.
"""
