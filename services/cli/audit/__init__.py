"""``jishi audit``: proves from the data of all services that nothing was lost and nothing invented.

``run.audit(settings)`` makes the report, ``command.command`` is the command line.
"""
