"""The same four stages in other libraries, each as its documentation says, settings for throughput included.

Every file is one program, run by an interpreter of the peer's own environment (`environment.py` makes it): its
dependencies exclude those of another. What is asked of it stands in `BENCH_KAFKA`, `BENCH_TOPIC`, `BENCH_GROUP`; when
its turn is over, `benchmarks.stages.Finish` ends it. Delivery is at least once, in one process, with one consumer.
Where the documentation leaves speed on the table and we know how to take it (another decoder, a lower level of the
same library) there is a second contestant, called tuned.
"""
