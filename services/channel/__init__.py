"""The mock payment provider: a stranger to the rest of the house, in the shape of WeChat Pay APIv3.

It has its own process, database, HTTP API, keys, signatures, faults and bill, and knows of its one merchant (the platform) only
what the merchant sends. All of its times are wall clock: a sandbox may move its own business clock, but not a bank's. For the same
reason the channel does not judge ``time_expire`` (the merchant gives it in business time); the merchant refuses late payers itself.
"""
