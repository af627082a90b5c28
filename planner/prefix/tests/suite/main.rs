//! Tests of the prefix tree: laws, named cases, sizes.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod support;
