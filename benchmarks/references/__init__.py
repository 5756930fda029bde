"""What somebody would write by hand for the same work: one file each, with nothing of penstock in it."""
