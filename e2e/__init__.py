"""A real cluster to try agentid on: found, or built and started on this machine.

`providers` knows the kinds of clusters, `toolchain` builds the one of our own, `install` puts
agentid into it. This package belongs to the checkout and is no part of the distribution.
"""
