//! Programs: hazards, determinism, errors.
