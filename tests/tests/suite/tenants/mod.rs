//! Tenants: keys and tokens, what each role may, and that no tenant reaches what is another's.

mod attempts;
mod cross;
mod keys;
mod raw;
mod rest;
mod tokens;
