"""The rows of bench/flows.py: what is asked of fastrbm.flows, measured."""
