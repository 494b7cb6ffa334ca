"""Who is who: official accounts, shops and their legal identity, apps, staff, buyers, tokens."""
