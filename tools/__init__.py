"""What can be done to a feature, typed in and out; the image store, the bank, the ledger, every key."""
