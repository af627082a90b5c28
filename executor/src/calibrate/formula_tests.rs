use serde_json::{Value, json};

use super::*;

const KIB: f64 = 1024.0;

fn cache(info: Value, kv_type: &str, swa_full: bool) -> Option<Cache> {
    Cache::of(&Metadata::from_model_info(info.as_object().unwrap()), kv_type, swa_full)
}

fn llama() -> Value {
    json!({
        "general.architecture": "llama",
        "llama.block_count": 32,
        "llama.embedding_length": 4096,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
    })
}

/// Gemma 3 270M.
fn gemma() -> Value {
    json!({
        "general.architecture": "gemma3",
        "gemma3.block_count": 18,
        "gemma3.embedding_length": 640,
        "gemma3.attention.head_count": 4,
        "gemma3.attention.head_count_kv": 1,
        "gemma3.attention.key_length": 256,
        "gemma3.attention.value_length": 256,
        "gemma3.attention.sliding_window": 512,
    })
}

#[test]
fn llama_3_1_8b_takes_128_kib_a_token() {
    let f16 = cache(llama(), "", false).unwrap();
    assert_eq!(f16.token_bytes(), 128.0 * KIB);
    assert_eq!(f16.bytes(8_192, 512) * 8.0, 8.0 * KIB * KIB * KIB, "8 slots of 8,192");
    assert_eq!(f16.bytes(8_000, 512), f16.bytes(8_192, 512), "padded");
    assert_eq!(cache(llama(), "q8_0", false).unwrap().token_bytes(), 68.0 * KIB);
    assert_eq!(cache(llama(), "q4_0", false).unwrap().token_bytes(), 36.0 * KIB);
    assert_eq!(cache(llama(), "tq1_0", false), None, "a type that is not known");
}

#[test]
fn a_window_bounds_all_layers_but_every_sixth_of_gemma_3() {
    let cache_of = |swa_full| cache(gemma(), "f16", swa_full).unwrap();
    let windowed = cache_of(false);
    assert_eq!((windowed.full, windowed.windowed, windowed.window), (3.0 * KIB, 15.0 * KIB, 512));
    let both = |context: u64| (3 * context + 15 * context.min(1_024)) as f64 * KIB;
    assert_eq!(
        [256, 1_024, 4_096].map(|context| windowed.bytes(context, 512)),
        [256, 1_024, 4_096].map(both)
    );
    assert_eq!(windowed.linear_from(512), 1_024);
    assert_eq!(cache_of(true).token_bytes(), 18.0 * KIB);
    assert_eq!(cache_of(true).linear_from(512), 0);
}

#[test]
fn a_pattern_of_its_own_wins() {
    let mut info = gemma();
    info["gemma3.attention.sliding_window_pattern"] = json!(9);
    assert_eq!(cache(info.clone(), "", false).unwrap().full, 2.0 * KIB);
    info["gemma3.attention.sliding_window_pattern"] = json!(vec![true; 18]);
    assert_eq!(cache(info.clone(), "", false).unwrap().full, 0.0);
    info["gemma3.attention.sliding_window_pattern"] = json!([true]);
    assert_eq!(cache(info, "", false), None, "an array that is too short");
}

#[test]
fn a_window_of_an_unknown_architecture_is_not_guessed() {
    let mut info = llama();
    info["llama.attention.sliding_window"] = json!(4_096);
    assert_eq!(cache(info.clone(), "", false), None);
    assert_eq!(cache(info, "", true), None, "no layer is known to have it");
}

#[test]
fn latent_attention_caches_one_key_and_no_value() {
    let info = json!({
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 61,
        "deepseek2.attention.head_count": 128,
        "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.value_length": 512,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.rope.dimension_count": 64,
    });
    assert_eq!(cache(info, "", false).unwrap().token_bytes(), (61 * 576 * 2) as f64);
}

#[test]
fn layers_without_attention_keep_a_state_or_nothing() {
    let mut info = json!({
        "general.architecture": "nemotron_h",
        "nemotron_h.block_count": 4,
        "nemotron_h.embedding_length": 4096,
        "nemotron_h.attention.head_count": 32,
        "nemotron_h.attention.head_count_kv": [0, 0, 8, 0],
        "nemotron_h.feed_forward_length": [0, 9_216, 0, 0],
        "nemotron_h.ssm.conv_kernel": 4,
        "nemotron_h.ssm.inner_size": 8_192,
        "nemotron_h.ssm.state_size": 128,
        "nemotron_h.ssm.group_count": 8,
    });
    let hybrid = cache(info.clone(), "", false).unwrap();
    assert_eq!(hybrid.token_bytes(), 4.0 * KIB);
    let state = 4 * (3 * (8_192 + 2 * 8 * 128) + 128 * 8_192);
    assert_eq!(hybrid.state, 2.0 * f64::from(state));
    info["nemotron_h.ssm.inner_size"] = Value::Null;
    assert_eq!(cache(info, "", false), None);
}

#[test]
fn an_interval_of_full_attention_leaves_the_others_recurrent() {
    let info = json!({
        "general.architecture": "qwen3next",
        "qwen3next.block_count": 48,
        "qwen3next.attention.head_count": 16,
        "qwen3next.attention.head_count_kv": 2,
        "qwen3next.attention.key_length": 256,
        "qwen3next.attention.value_length": 256,
        "qwen3next.full_attention_interval": 4,
        "qwen3next.ssm.conv_kernel": 4,
        "qwen3next.ssm.inner_size": 4_096,
        "qwen3next.ssm.state_size": 128,
        "qwen3next.ssm.group_count": 16,
    });
    assert_eq!(cache(info, "", false).unwrap().token_bytes(), 12.0 * 2.0 * KIB);
}

#[test]
fn shared_layers_and_predictors_are_not_counted() {
    let mut info = gemma();
    info["gemma3.attention.shared_kv_layers"] = json!(6);
    assert_eq!(cache(info, "", true).unwrap().token_bytes(), 12.0 * KIB);
    let mut info = llama();
    info["llama.nextn_predict_layers"] = json!(1);
    assert_eq!(cache(info.clone(), "", false).unwrap().token_bytes(), 124.0 * KIB);
    info["llama.nextn_predict_layers"] = json!(33);
    assert_eq!(cache(info, "", false), None);
}

#[test]
fn metadata_that_do_not_tell_give_nothing() {
    assert_eq!(cache(json!({}), "", false), None);
    assert_eq!(cache(json!({ "general.architecture": "llama", "llama.block_count": 2 }), "", false), None);
    let mut info = llama();
    info["llama.attention.head_count"] = json!(0);
    assert_eq!(cache(info, "", false), None);
}
