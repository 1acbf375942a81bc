"""The documentation as a site, its generated pages, and the commands in it that tests run."""
