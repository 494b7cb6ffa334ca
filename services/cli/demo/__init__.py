"""``jishi demo``: the whole story on a throw-away stack, through HTTP only."""
