"""What accounts is told to do, by subject: credentials and tokens, merchants, people and apps, the sandbox."""
