//! The fleet as a person reads it. A number that is not known has its reason, and is never 0.

use caravan_proto::{
    json::enum_text,
    v1::{Engine, Executor, Gpu, GpuProcess},
};

use crate::{
    figures::{bytes, share},
    table::with_heading,
};

/// What is shown where a number is not known.
fn unavailable(reason: &str) -> String {
    format!("unavailable: {}", if reason.is_empty() { "not reported" } else { reason })
}

/// Engines, what has to be said of them, and GPUs.
pub(super) fn of(executors: &[Executor]) -> String {
    let mut parts = vec![engines(executors)];
    let remarks: Vec<_> = executors.iter().flat_map(remarks).collect();
    parts.push(remarks.join("\n"));
    parts.push(gpus(executors));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn engines(executors: &[Executor]) -> String {
    let mut table = with_heading([
        "HOST",
        "EXECUTOR",
        "ENGINE",
        "ENGINE STATE",
        "LANES AT WORK",
        "TOKENS/S",
        "VRAM",
        "MODELS",
    ]);
    for executor in executors {
        for engine in &executor.engines {
            table.add_row(engine_row(executor, engine));
        }
    }
    table.trim_fmt()
}

fn engine_row(executor: &Executor, engine: &Engine) -> [String; 8] {
    let models: Vec<_> = engine.models.iter().map(|model| model.name.as_str()).collect();
    [
        executor.host.clone(),
        enum_text(executor.state().as_str_name(), "State"),
        format!("{} {}", engine.id, engine.version).trim_end().to_owned(),
        enum_text(engine.state().as_str_name(), "State"),
        format!("{}/{}", engine.lanes.len(), engine.slots),
        format!("{:.0}", engine.tokens_per_second),
        engine_vram(executor, engine),
        models.join(", "),
    ]
}

/// What it takes, of what may be taken on its GPUs.
fn engine_vram(executor: &Executor, engine: &Engine) -> String {
    let taken = match engine.vram_bytes {
        Some(taken) => bytes(taken),
        None if executor.gpus.is_empty() => return unavailable(&executor.gpu_unavailable),
        None => return unavailable("its GPU or its processes are not known"),
    };
    match engine.vram_ceiling_bytes {
        0 => taken,
        ceiling => format!("{taken} of {}", bytes(ceiling)),
    }
}

/// Why engines do not serve, and what else a person should know.
fn remarks(executor: &Executor) -> Vec<String> {
    let of_engine = |engine: &Engine| {
        let name = format!("{}/{}", executor.host, engine.id);
        let state = enum_text(engine.state().as_str_name(), "State");
        let message = Some(&engine.message).filter(|message| !message.is_empty());
        let message = message.map(|message| format!("{name} {state}: {message}"));
        let notes: Vec<_> = engine.notes.iter().map(|note| format!("{name}: {note}")).collect();
        message.into_iter().chain(notes).collect::<Vec<_>>()
    };
    executor.engines.iter().flat_map(of_engine).collect()
}

fn gpus(executors: &[Executor]) -> String {
    let mut table = with_heading([
        "HOST",
        "GPU",
        "NAME",
        "VRAM USED",
        "VRAM TOTAL",
        "USED",
        "CEILING",
        "ENGINES",
        "FOREIGN",
        "UTILIZATION",
        "TEMPERATURE",
        "POWER",
    ]);
    for row in executors.iter().flat_map(gpu_rows) {
        table.add_row(row);
    }
    if table.is_empty() { String::new() } else { table.trim_fmt() }
}

fn gpu_rows(executor: &Executor) -> Vec<[String; 12]> {
    if executor.gpus.is_empty() && !executor.gpu_unavailable.is_empty() {
        let mut row = [(); 12].map(|()| "-".to_owned());
        row[0].clone_from(&executor.host);
        row[3] = unavailable(&executor.gpu_unavailable);
        return vec![row];
    }
    executor.gpus.iter().map(|gpu| gpu_row(executor, gpu)).collect()
}

fn gpu_row(executor: &Executor, gpu: &Gpu) -> [String; 12] {
    let known = |known: Option<String>, what: &str| known.unwrap_or_else(|| unavailable(reason(gpu, what)));
    let used = gpu.vram_used_bytes.zip(gpu.vram_total_bytes);
    // Engines on one GPU have it; the GPU itself tells of no ceiling.
    let ceilings = executor.engines.iter().filter(|engine| engine.gpu_indexes == [gpu.index]);
    let ceiling = ceilings.map(|engine| engine.vram_ceiling_bytes).find(|ceiling| *ceiling > 0);
    let is_split = if gpu.mig == Some(true) { " (split, MIG)" } else { "" };
    [
        executor.host.clone(),
        gpu.index.to_string(),
        format!("{}{is_split}", gpu.name),
        known(gpu.vram_used_bytes.map(bytes), "memory"),
        known(gpu.vram_total_bytes.map(bytes), "memory"),
        used.map_or_else(|| "-".to_owned(), |(used, total)| share(used, total)),
        ceiling.map_or_else(|| "-".to_owned(), bytes),
        known(taken(gpu, |process| !process.engine.is_empty()), "processes"),
        known(taken(gpu, |process| process.engine.is_empty()), "processes"),
        known(gpu.utilization_percent.map(|percent| format!("{percent} %")), "utilization"),
        known(gpu.temperature_celsius.map(|celsius| format!("{celsius} °C")), "temperature"),
        known(gpu.power_watts.map(|watts| format!("{watts:.0} W")), "power"),
    ]
}

/// The reason why `what` is not known; all reasons if none is named for it.
fn reason<'a>(gpu: &'a Gpu, what: &str) -> &'a str {
    let named = gpu.unavailable.split("; ").find_map(|reason| {
        let (whats, why) = reason.split_once(": ")?;
        whats.ends_with(what).then_some(why)
    });
    named.unwrap_or(&gpu.unavailable)
}

/// Bytes of the processes that `wanted` says; none if one is not known, or the list is not.
fn taken(gpu: &Gpu, wanted: impl Fn(&GpuProcess) -> bool) -> Option<String> {
    if gpu.vram_used_bytes.is_none() || gpu.unavailable.contains("processes: ") {
        return None;
    }
    let wanted = gpu.processes.iter().filter(|process| wanted(process));
    wanted.map(|process| process.vram_bytes).sum::<Option<i64>>().map(bytes)
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::engine;

    use super::*;

    const GIB: i64 = 1 << 30;

    fn executor() -> Executor {
        let process = |pid, gib: i64, engine: &str| GpuProcess {
            pid,
            vram_bytes: Some(gib * GIB),
            engine: engine.into(),
        };
        let gpu = Gpu {
            name: "Card".into(),
            vram_used_bytes: Some(70 * GIB),
            vram_total_bytes: Some(80 * GIB),
            utilization_percent: Some(40),
            temperature_celsius: Some(51),
            power_watts: Some(301.5),
            processes: vec![process(4, 50, ""), process(5, 20, "ollama-0")],
            ..Gpu::default()
        };
        let engine = Engine {
            id: "ollama-0".into(),
            state: engine::State::Unfit.into(),
            message: "GPU 0 is full".into(),
            notes: vec!["others use it".into()],
            gpu_indexes: vec![0],
            vram_bytes: Some(20 * GIB),
            vram_ceiling_bytes: 60 * GIB,
            ..Engine::default()
        };
        Executor { host: "h".into(), engines: vec![engine], gpus: vec![gpu], ..Executor::default() }
    }

    fn has(text: &str, words: &str) {
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(words), "{words:?} is not in\n{text}");
    }

    #[test]
    fn who_has_how_much_and_why_an_engine_is_unfit() {
        let text = of(&[executor()]);
        has(&text, "unfit 0/0 0 20.0 GiB of 60.0 GiB");
        has(&text, "h/ollama-0 unfit: GPU 0 is full h/ollama-0: others use it");
        has(&text, "Card 70.0 GiB 80.0 GiB 87.5 % 60.0 GiB 20.0 GiB 50.0 GiB 40 % 51 °C 302 W");
    }

    #[test]
    fn what_is_not_known_has_its_reason_and_is_not_0() {
        let whole = executor();
        let gpu = Gpu {
            vram_used_bytes: None,
            power_watts: None,
            unavailable: "memory: lost; power: no permission".into(),
            ..whole.gpus[0].clone()
        };
        let engine = Engine { vram_bytes: None, ..whole.engines[0].clone() };
        let text = of(&[Executor { gpus: vec![gpu], engines: vec![engine], ..whole.clone() }]);
        has(
            &text,
            "Card unavailable: lost 80.0 GiB - 60.0 GiB unavailable: memory: lost; power: no permission",
        );
        has(&text, "51 °C unavailable: no permission");
        let none = "libnvidia-ml.so.1 not found";
        let blind = Executor { gpus: Vec::new(), gpu_unavailable: none.into(), ..whole.clone() };
        has(&of(&[blind]), "h - - unavailable: libnvidia-ml.so.1 not found - -");
        let mut unnamed = whole;
        unnamed.gpus[0].processes[0].vram_bytes = None;
        has(&of(&[unnamed]), "60.0 GiB 20.0 GiB unavailable: not reported 40 %");
    }
}
