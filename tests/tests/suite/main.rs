//! The whole of Caravan, as processes, on simulated engines.

mod adversarial;
mod batches;
mod chaos;
mod commands;
mod defaults;
mod drain;
mod engines;
mod files;
mod forms;
mod golden;
mod invalid;
mod kills;
mod lifecycle;
mod managed;
mod models;
mod outage;
mod planned;
mod prefixes;
mod profiles;
mod replicas;
mod servers;
mod tenants;
mod tls;
mod vram;
mod webhooks;
mod whole_files;
