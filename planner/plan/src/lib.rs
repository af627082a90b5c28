//! Planning as pure functions: requests, profile and policy in, plan out.
