//! The planner: the only owner of state.
