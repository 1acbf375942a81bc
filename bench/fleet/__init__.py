"""Pods at scale: do admission, signing and revocation keep up with thousands of pods?

kwok is the nodes, and carries pods to Ready and, once deleted, away; it knows nothing of
certificates. Those are asked for here, as kubelets and node plugins do it: half by
PodCertificateRequest, half by the issuer service with the pod's own token. What one pod costs on a
real node is left to `bench.pod_start` and `bench.node`.
"""
