"""`agentid doctor`: what is wrong with an installation, and how to mend it.

    gathering ──► Facts ──► checks ──► Findings ──► command
    reads                   pure                    prints

What may not be read is a fact too: a check whose facts are missing says what it could not look at.
"""
