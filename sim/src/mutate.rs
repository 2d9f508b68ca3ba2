//! Planted bugs that the benches must catch.
