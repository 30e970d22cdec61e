//! Positions and HyperLogLogs.
