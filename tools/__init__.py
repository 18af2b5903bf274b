"""What can be done to a feature, typed in and typed out; the image store, the bank, the ledger, every Redis key."""
