"""Models: trained and published offline, loaded and run online."""

if __name__ != "penstock.models":
    raise ImportError("import this package as `penstock.models`; its bare name would make a second copy of every class")
