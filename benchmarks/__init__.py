"""How fast the suite is. `make bench` prints the tables of docs/performance.md."""
