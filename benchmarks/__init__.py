"""Measurements, each against a reference in the same run: `python -m benchmarks NAME [--json]`.

Every figure is a ratio. The contestants of a benchmark take turns, five rounds by default; a round gives one ratio of
their rates, and the figure is the median of the rounds' ratios. What a machine does beside this falls on all alike.

- one module per benchmark, listed in `benchmarks.registry`; its docstring says what is measured and what is not;
- `references/`: what somebody would write by hand for the same work, as fast as it goes;
- `peers/`: the same work in other libraries, each as its documentation says, in an environment of its own;
- `penstock_side`: the one place that runs pipelines.
"""
