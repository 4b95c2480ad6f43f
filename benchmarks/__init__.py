"""Benchmarks of training and sampling speed: `make bench` prints the tables of docs/performance.md."""
