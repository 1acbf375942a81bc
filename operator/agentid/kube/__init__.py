"""How does the operator talk to the API server, and what does it work on next?

A thin client (`client`, on the credentials of `credentials`), a cache-less reflection of a kind
(`reflector`), the work queue (`queue`), one heap of due times (`schedule`) and leader election
(`lease`). What is done with the objects is left to the services; Kopf is left to the controller.
"""
