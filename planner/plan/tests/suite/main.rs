//! Tests of planning: published numbers, laws, quality, edges.

#[cfg(test)]
mod edges;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod makespan;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod support;
