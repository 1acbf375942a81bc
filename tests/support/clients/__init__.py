"""Programs that tests run beside themselves, with libraries of others."""
