//! Serves the simulator for scripts, other processes and clusters.

fn main() {}
