"""Every fault, by a seed: operators under a load, and whether the five promises were kept.

```
        course (pure, from a seed) ─► load ──────────────► API server ◄── proxy ◄── replica 0
                   │                                           │            ▲ ◄──── replica 1
                   └──► faults ─► weather, processes, storage, ─┘────────────┘
                                  Lease, clocks, CA
        etcd ─► history ─► promises, settled (pure) ─► what is broken
```

What is judged is read from etcd, where each write has its place in one order, so whatever an API
server or a watch leaves out is seen. Nothing here shares a line with the operator.
"""
