"""What Precis costs against the floor of the same hops: `python -m tests.bench`, or `make bench`."""
