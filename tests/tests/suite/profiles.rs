//! Profiles: kept, listed, used for what they were measured on, and for nothing else.

use caravan_proto::v1::{
    Basis, Batch, CreateBatchRequest, CreateProfileRequest, Engine, ListProfilesRequest, Plan, Profile,
    ReusePoint, plan::Origin,
};
use caravan_simulated_engine::{Options, SimulatedEngine, text_of};
use caravan_tests::{Api, Input, MODEL, Predicted, Shape, Up, predict, profile_of, reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

async fn engine(api: &Api) -> anyhow::Result<Engine> {
    api.serves(MODEL).await?;
    api.engine().await
}

async fn create(api: &Api, profile: Profile) -> Result<Profile, Status> {
    let request = CreateProfileRequest { profile: Some(profile) };
    api.fleet().create_profile(request).await.map(tonic::Response::into_inner)
}

async fn plan(api: &Api, file: &str) -> anyhow::Result<Plan> {
    let batch = Some(Batch { input_file: file.to_owned(), ..Batch::default() });
    let request = CreateBatchRequest { batch, validate_only: true, ..Default::default() };
    Ok(api.batches().create_batch(request).await?.into_inner().plan.unwrap_or_default())
}

fn field(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
    violations.into_iter().flatten().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn a_profile_holds_for_what_it_was_measured_on() -> anyhow::Result<()> {
    let options = Options { prefill: 1_000.0, decode: 50.0, ..Options::default() };
    let simulated = SimulatedEngine::start(options.clone())?;
    let up = Up::start(&[&simulated.url()], 4, "").await?;
    let api = up.api()?;
    let right = profile_of(&engine(&api).await?, &options);
    let file = api.upload(Input::chats(100, &text_of("s", 200)).bytes()).await?.name;
    assert_eq!(plan(&api, &file).await?.estimated_duration, None);

    let older = Profile { engine_version: "0.1.0".into(), ..right.clone() };
    create(&api, older).await?;
    let unused = plan(&api, &file).await?;
    assert_eq!((unused.origin(), unused.estimated_duration), (Origin::Reported, None));
    let told = |plan: &Plan, what: &str| plan.warnings.iter().any(|warning| warning.contains(what));
    assert!(told(&unused, "measured with the engine version 0.1.0"), "{:?}", unused.warnings);
    let gpu = Profile { gpu: "NVIDIA H100".into(), driver: "570".into(), ..right.clone() };
    create(&api, gpu).await?;
    let unused = plan(&api, &file).await?;
    assert!(told(&unused, "measured with the GPU NVIDIA H100"), "{:?}", unused.warnings);

    let kept = create(&api, Profile { max_context: 2_048, ..right.clone() }).await?;
    let used = plan(&api, &file).await?;
    assert_eq!(used.origin(), Origin::Profile);
    assert!(used.estimated_duration.is_some() && !told(&used, "was measured"), "{:?}", used.warnings);
    assert_eq!(used.engines[0].max_context, 2_048, "no more than is safe");

    let request = ListProfilesRequest { model: MODEL.into(), ..Default::default() };
    let listed = api.fleet().list_profiles(request).await?.into_inner().profiles;
    assert_eq!((listed.len(), &listed[0]), (3, &kept), "newest first");
    let newer = create(&api, right).await?;
    let listed = api.fleet().list_profiles(ListProfilesRequest::default()).await?.into_inner().profiles;
    assert_eq!((listed.len(), &listed[0]), (3, &newer), "in place of the older one");

    let shown = up.caravan().run(&["profiles", "--model", MODEL]).await?;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("ollama-0") && shown.stdout.contains("no engine now"), "{}", shown.stdout);
    let json = up.caravan().run(&["profiles", "--json"]).await?.json()?.remove(0);
    assert_eq!(json["profiles"][0]["name"], newer.name.as_str());
    assert_eq!(json["valid_for"][&newer.name].as_array().map(Vec::len), Some(1), "{json}");
    Ok(())
}

#[tokio::test]
async fn a_profile_that_is_wrong_is_refused_with_its_field() -> anyhow::Result<()> {
    let simulated = SimulatedEngine::start(Options::default())?;
    let up = Up::start(&[&simulated.url()], 4, "").await?;
    let api = up.api()?;
    let right = profile_of(&engine(&api).await?, &Options::default());
    for (wrong, what) in [
        (Profile { slots: 0, ..right.clone() }, "profile.slots"),
        (Profile { schema: 99, ..right.clone() }, "profile.schema"),
        (Profile { decode_tokens_per_second: f64::NAN, ..right.clone() }, "profile.decode_tokens_per_second"),
        (Profile { model: String::new(), ..right.clone() }, "profile.model"),
    ] {
        let refused = create(&api, wrong).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
        assert_eq!(field(&refused), what);
    }
    let missing = api.fleet().create_profile(CreateProfileRequest { profile: None }).await.unwrap_err();
    assert_eq!(field(&missing), "profile");

    create(&api, right.clone()).await?;
    let before = prost_types::Timestamp { seconds: 1_000, nanos: 0 };
    let older = create(&api, Profile { measure_time: Some(before), ..right }).await.unwrap_err();
    assert_eq!((older.code(), field(&older)), (Code::InvalidArgument, "profile.measure_time".into()));
    Ok(())
}

#[tokio::test]
async fn a_plan_says_why_a_prefix_is_not_reused() -> anyhow::Result<()> {
    let options = Options { prefill: 1_000.0, decode: 50.0, ..Options::default() };
    let simulated = SimulatedEngine::start(options.clone())?;
    let up = Up::start(&[&simulated.url()], 4, "").await?;
    let api = up.api()?;
    let right = profile_of(&engine(&api).await?, &options);
    let point = |prefix_tokens, reused, needs: &str| ReusePoint {
        prefix_tokens,
        own_tokens: 50,
        reused,
        basis: Basis::Measured.into(),
        needs: needs.into(),
        ..Default::default()
    };
    let reuse = vec![point(100, false, "a longer prefix"), point(400, true, "")];
    create(&api, Profile { reuse, ..right }).await?;
    let mut input = Input::new();
    for index in 0..200 {
        let system = text_of(&format!("s{}", index % 2), if index % 2 == 0 { 150 } else { 500 });
        input = input.chat(&format!("r{index}"), &system, &text_of("q", 5 + index % 9));
    }
    let file = api.upload(input.bytes()).await?.name;
    let plan = plan(&api, &file).await?;
    let mut groups: Vec<_> = plan.groups.iter().map(|group| group.not_reused.as_str()).collect();
    groups.sort_unstable();
    let why = "calibration saw a prefix of 100 tokens evaluated anew with every request; what it needs: a longer prefix";
    assert_eq!(groups, ["", why]);
    let warned = plan.warnings.iter().any(|warning| warning.contains("prefixes that are not reused: 1;"));
    assert!(warned, "{:?}", plan.warnings);
    Ok(())
}

/// Within a quarter, whatever else the machine does; `bench predict` tells how near it is.
#[tokio::test]
async fn a_batch_takes_the_time_that_was_predicted() -> anyhow::Result<()> {
    let options =
        Options { prefill: 4_000.0, decode: 200.0, answer_ms: 20, answer_tokens: 20, ..Options::default() };
    for shape in Shape::ALL {
        let Predicted { predicted, actual } = predict(shape, &options).await?;
        println!("{shape}: predicted {predicted:.2} s, actual {actual:.2} s");
        let ratio = predicted / actual;
        assert!((0.75..=1.25).contains(&ratio), "{shape}: predicted {predicted} s, actual {actual} s");
    }
    Ok(())
}
