"""How does a pod get an identity on its node, and keep it? CSI driver, Workload API, SDS.

Keys are made here, in memory, and leave the node never. Who may have which certificate, and issuing
it, is left to the issuer service, which is asked through `IssuerPort`.
"""
