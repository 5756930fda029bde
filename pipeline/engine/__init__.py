"""Events at work: what is read, run, tried again, sent and confirmed."""
