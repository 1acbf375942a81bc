"""What GitOps tools are told about agentid's kinds; `docs/guides/gitops.md` tells how to use it."""
