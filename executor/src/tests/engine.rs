//! An engine that does what a test says.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use caravan_request::EngineKind;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::{
    engine::{
        Call, Class, Description, Engine, Facts, Failure, Loaded, Model, ReloadSet, Response, Timings, Turn,
        acquire::{ModelFile, Progress},
    },
    unit::PROBE,
};

/// How a request is answered, by its last message: scripted replies first, in order, then
/// the text in upper case.
#[derive(Debug)]
pub(super) struct Scripted {
    replies: Mutex<HashMap<String, Vec<Reply>>>,
    describes: Mutex<Result<Description, Failure>>,
    load_fails: Mutex<Option<Failure>>,
    /// The vocabulary of every model; absent: one that names its model.
    vocabulary: Mutex<Option<Result<Vec<u8>, Failure>>>,
    /// A request waits for a permit before it answers.
    pub(super) permits: Semaphore,
    /// No request is answered while it is set, though the engine answers about itself.
    frozen: watch::Sender<bool>,
    /// An unload thaws it.
    unload_thaws: AtomicBool,
    /// Tokens of an answer, and the time on its slot that each took.
    pace: Mutex<(u64, Duration)>,
    events: Mutex<Vec<Event>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    Text(&'static str),
    /// Cut short by its limit.
    Cut(&'static str),
    Fail(Failure),
    /// The engine freezes.
    Freeze,
}

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A load, with the requests in flight at that moment.
    Load { model: String, set: ReloadSet, in_flight: usize },
    /// A request came in: the texts of its messages, and how many others were in flight.
    Run { texts: Vec<String>, others: usize },
    /// An unload.
    Unload { model: String },
    /// A request that only asks whether there is an answer.
    Probe,
    /// A chat was rendered.
    Render { set: ReloadSet },
}

pub(super) fn failure(class: Class) -> Failure {
    Failure::own(class, "scripted", "as scripted")
}

impl Default for Scripted {
    fn default() -> Self {
        let model = |name: &str| Model { name: name.into(), chat: true, ..Model::default() };
        let models = vec![model("m"), model("other")];
        Self {
            replies: Mutex::default(),
            describes: Mutex::new(Ok(Description { models, ..Description::default() })),
            load_fails: Mutex::default(),
            vocabulary: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
            frozen: watch::Sender::new(false),
            unload_thaws: AtomicBool::new(true),
            pace: Mutex::new((2, Duration::ZERO)),
            events: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        }
    }
}

impl Scripted {
    /// One that answers nothing until it is given permits.
    pub(super) fn held() -> Self {
        Self { permits: Semaphore::new(0), ..Self::default() }
    }

    /// One whose answers have so many tokens, each of which takes this time by its own account.
    pub(super) fn paced(tokens: u64, each: Duration) -> Self {
        Self { pace: Mutex::new((tokens, each)), ..Self::default() }
    }

    /// From now on it answers about itself only.
    pub(super) fn freeze(&self, unload_thaws: bool) {
        self.unload_thaws.store(unload_thaws, SeqCst);
        self.frozen.send_replace(true);
    }

    pub(super) fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    pub(super) fn probes(&self) -> usize {
        self.events().iter().filter(|event| **event == Event::Probe).count()
    }

    async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.unwrap();
    }

    /// What it answers to a request that ends with `text`.
    pub(super) fn reply(self, text: &str, replies: &[Reply]) -> Self {
        self.replies.lock().unwrap().insert(text.into(), replies.to_vec());
        self
    }

    pub(super) fn set_description(&self, description: Result<Description, Failure>) {
        *self.describes.lock().unwrap() = description;
    }

    pub(super) fn description(&self) -> Description {
        self.describes.lock().unwrap().clone().unwrap()
    }

    pub(super) fn set_load_failure(&self, failure: Option<Failure>) {
        *self.load_fails.lock().unwrap() = failure;
    }

    pub(super) fn set_vocabulary(&self, vocabulary: Result<Vec<u8>, Failure>) {
        *self.vocabulary.lock().unwrap() = Some(vocabulary);
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The last message of every request that came in.
    pub(super) fn asked(&self) -> Vec<String> {
        self.runs().into_iter().filter_map(|texts| texts.last().cloned()).collect()
    }

    /// The messages of every request that came in.
    pub(super) fn runs(&self) -> Vec<Vec<String>> {
        let texts = |event| if let Event::Run { texts, .. } = event { Some(texts) } else { None };
        self.events().into_iter().filter_map(texts).collect()
    }

    pub(super) fn loads(&self) -> Vec<(String, u64)> {
        let load = |event| {
            if let Event::Load { model, set, .. } = event { Some((model, set.context)) } else { None }
        };
        self.events().into_iter().filter_map(load).collect()
    }

    /// How `model` is loaded after all loads and unloads so far.
    fn loaded(&self, model: &str) -> Option<Loaded> {
        let mut loaded = None;
        for event in self.events() {
            match event {
                Event::Load { model: named, set, .. } if named == model => {
                    loaded = Some(Loaded { context: set.context, ..Loaded::default() });
                }
                Event::Unload { model: named } if named == model => loaded = None,
                _ => {}
            }
        }
        loaded
    }

    /// The sets of all loads.
    pub(super) fn sets(&self) -> Vec<ReloadSet> {
        let set = |event| if let Event::Load { set, .. } = event { Some(set) } else { None };
        self.events().into_iter().filter_map(set).collect()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(SeqCst)
    }
}

impl Scripted {
    fn answer(&self, text: String, length_limited: bool) -> Response {
        let (tokens, each) = *self.pace.lock().unwrap();
        Response {
            status: 200,
            body: json!({"text": text}),
            text,
            prompt_tokens: Some(20),
            cached_tokens: None,
            completion_tokens: Some(tokens),
            length_limited,
            timings: Timings {
                load: None,
                prompt: Some(Duration::ZERO),
                answer: Some(each * u32::try_from(tokens).unwrap()),
            },
        }
    }
}

/// Counts a request in flight until it is dropped, answered or not.
struct InFlight<'a>(&'a Scripted);

impl<'a> InFlight<'a> {
    fn begin(engine: &'a Scripted, call: &Call<'_>) -> Self {
        let messages = call.body["messages"].as_array().cloned().unwrap_or_default();
        let texts = messages.iter().map(|m| m["content"].as_str().unwrap_or_default().to_owned()).collect();
        let others = engine.in_flight.fetch_add(1, SeqCst);
        engine.most_in_flight.fetch_max(others + 1, SeqCst);
        engine.events.lock().unwrap().push(Event::Run { texts, others });
        Self(engine)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl Engine for Scripted {
    fn kind(&self) -> EngineKind {
        EngineKind::Ollama
    }

    async fn describe(&self) -> Result<Description, Failure> {
        let mut description = self.describes.lock().unwrap().clone()?;
        for model in &mut description.models {
            model.loaded = model.loaded.or(self.loaded(&model.name));
        }
        Ok(description)
    }

    async fn load(&self, model: &str, set: ReloadSet) -> Result<(), Failure> {
        let load = Event::Load { model: model.into(), set, in_flight: self.in_flight() };
        self.events.lock().unwrap().push(load);
        self.load_fails.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn run(&self, call: &Call<'_>) -> Result<Response, Failure> {
        if call.body["messages"][0]["content"] == PROBE {
            self.events.lock().unwrap().push(Event::Probe);
            self.thawed().await;
            return Ok(self.answer("Yes.".into(), true));
        }
        let _in_flight = InFlight::begin(self, call);
        self.thawed().await;
        self.permits.acquire().await.unwrap().forget();
        let asked = call.body["messages"]
            .as_array()
            .and_then(|m| m.last())
            .map_or(Value::Null, |m| m["content"].clone());
        let asked = asked.as_str().unwrap_or_default();
        let scripted = {
            let mut replies = self.replies.lock().unwrap();
            replies.get_mut(asked).filter(|left| !left.is_empty()).map(|left| left.remove(0))
        };
        let (text, length_limited) = match scripted {
            Some(Reply::Fail(failure)) => return Err(failure),
            Some(Reply::Freeze) => {
                self.freeze(true);
                return std::future::pending().await;
            }
            Some(Reply::Cut(text)) => (text.to_owned(), true),
            Some(Reply::Text(text)) => (text.to_owned(), false),
            None => (asked.to_uppercase(), false),
        };
        Ok(self.answer(text, length_limited))
    }

    async fn unload(&self, model: &str) -> Result<(), Failure> {
        self.events.lock().unwrap().push(Event::Unload { model: model.into() });
        if self.unload_thaws.load(SeqCst) {
            self.thaw();
        }
        Ok(())
    }

    async fn facts(&self, _: &str) -> Result<Facts, Failure> {
        Ok(Facts::default())
    }

    async fn pull(&self, _: &str, _: Progress<'_>) -> Result<(), Failure> {
        Err(Failure::fixed_model())
    }

    async fn import(&self, _: &str, _: &dyn ModelFile, _: Progress<'_>) -> Result<(), Failure> {
        Err(Failure::fixed_model())
    }

    async fn vocabulary(&self, model: &str) -> Result<Vec<u8>, Failure> {
        let own = || Ok(format!("definition of {model}").into_bytes());
        self.vocabulary.lock().unwrap().clone().unwrap_or_else(own)
    }

    async fn render(&self, _: &str, set: ReloadSet, chat: &[Turn]) -> Result<Option<String>, Failure> {
        self.events.lock().unwrap().push(Event::Render { set });
        Ok(chat.last().map(|turn| turn.content.to_owned()))
    }
}
