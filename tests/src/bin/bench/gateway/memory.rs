use anyhow::Context as _;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident now.
    pub(super) resident: u64,
    /// The most that was, since it began.
    pub(super) peak: u64,
}

// === impl Memory ===

impl Memory {
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> anyhow::Result<u64> {
            let found = status.lines().find_map(|line| line.strip_prefix(name)).context("no such memory")?;
            Ok(found.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}
