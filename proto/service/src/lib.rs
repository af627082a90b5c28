//! What the services share: configuration, telemetry, server stack, shutdown.
