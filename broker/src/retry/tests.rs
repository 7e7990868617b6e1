//! Retries over a broker that fails by plan, on a clock that nobody waits for.
