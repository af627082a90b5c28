use std::sync::Arc;

use caravan_plan::{Fleet, Head, Input, Plan, Policy};
use caravan_proto::v1;
use caravan_request::{Defaults, Endpoint, Kinds, LineError};

use super::{
    Error, Options,
    count::{Counter, Group, count},
    payload,
    reject::Rejects,
    scan::scan,
    spec,
};
use crate::{
    files::Reader,
    intake::{Rules, Scanned, Sharing},
};

/// An input that was scanned, counted and planned.
pub(super) struct Drawn {
    pub(super) scanned: Scanned,
    pub(super) heads: Vec<Head>,
    pub(super) groups: Vec<Group>,
    pub(super) plan: Plan,
    pub(super) policy: Policy,
    pub(super) input: Reader,
    /// What its lines are laid over.
    pub(super) defaults: Option<Arc<Defaults>>,
    pub(super) fleets: Vec<Fleet>,
    /// Engines that could run some of it.
    pub(super) engines: Vec<v1::QualifiedEngine>,
    /// What a person should know beside the plan's own warnings.
    pub(super) notes: Vec<String>,
    /// By model: what each of `Fleet::reuse` needs.
    pub(super) needs: Vec<Vec<String>>,
}

/// What became of drawing up a plan.
pub(super) enum Draft {
    Drawn(Box<Drawn>),
    /// The file cannot be a batch, whatever the policy says.
    Fatal {
        total: u64,
        error: LineError,
    },
    /// Lines are wrong, and the policy rejects the batch for it.
    Invalid {
        total: u64,
    },
}

/// What is known of a model that a batch wants.
pub(super) struct Facts {
    pub(super) fleet: Fleet,
    pub(super) counter: Counter,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
    /// What each of `Fleet::reuse` needs.
    pub(super) needs: Vec<String>,
}

/// What is drawn up, and by which rules.
pub(super) struct Task<'a> {
    pub(super) options: &'a Options,
    pub(super) spec: &'a v1::Batch,
    pub(super) input: Reader,
    /// Kinds of engine in the fleet.
    pub(super) kinds: Kinds,
}

// === impl Task ===

impl Task<'_> {
    /// Reads the input twice and plans it. `know` gives what is known of each model.
    pub(super) async fn draw(
        self,
        rejects: &mut Rejects,
        know: impl AsyncFnOnce(&[String]) -> Result<Vec<Facts>, Error>,
    ) -> Result<Draft, Error> {
        let Self { spec, ref input, .. } = self;
        let policy = spec::policy(spec, self.options);
        let rules = self.rules(&policy)?;
        let mut scanned = scan(input.clone(), rules.clone(), rejects).await?;
        if let Some(error) = scanned.fatal.take() {
            return Ok(Draft::Fatal { total: scanned.total, error });
        }
        let total = scanned.total;
        let facts = know(&scanned.models).await?;
        let (mut fleets, mut counters) = (Vec::new(), Vec::new());
        let (mut notes, mut needs) = (Vec::new(), Vec::new());
        for facts in facts {
            fleets.push(facts.fleet);
            counters.push(facts.counter);
            notes.extend(facts.notes);
            needs.push(facts.needs);
        }
        let defaults = rules.defaults.clone();
        let bytes = spec.defaults.len();
        let (heads, groups) = count(input.clone(), rules, &mut scanned, counters, bytes).await?;
        scanned.sketch = None;
        let drawing = Drawn {
            scanned,
            heads,
            groups,
            plan: Plan::default(),
            policy,
            input: self.input,
            defaults,
            fleets,
            engines: Vec::new(),
            notes,
            needs,
        };
        let drawn = plan(drawing).await?;
        reject_too_long(&drawn, rejects).await?;
        if rejects.lines > 0 && spec.on_invalid() != v1::OnInvalid::RejectLine {
            return Ok(Draft::Invalid { total });
        }
        Ok(Draft::Drawn(Box::new(drawn)))
    }

    fn rules(&self, policy: &Policy) -> Result<Rules, Error> {
        let model = Some(self.spec.model.clone()).filter(|model| !model.is_empty());
        Ok(Rules {
            defaults: spec::defaults(self.spec)?.map(Arc::new),
            endpoint: Endpoint::parse(&self.spec.endpoint),
            kinds: self.kinds,
            model,
            max_line_bytes: self.options.max_line_bytes,
            max_requests: self.options.max_requests,
            sharing: match policy.strategy {
                caravan_plan::Strategy::Independent => Sharing::Prefix,
                caravan_plan::Strategy::Conversation => Sharing::Opening,
            },
            input_bytes: self.input.bytes(),
        })
    }
}

/// Plans on a thread of its own: it is arithmetic, and may take seconds.
async fn plan(drawing: Drawn) -> Result<Drawn, Error> {
    let planning = tokio::task::spawn_blocking(move || {
        let Drawn { scanned, heads, fleets, policy, .. } = &drawing;
        let plan = caravan_plan::plan(Input { requests: &scanned.requests, heads, fleets, policy })?;
        Ok(Drawn { plan, ..drawing })
    });
    planning.await.map_err(|_| Error::Stopped)?
}

async fn reject_too_long(drawn: &Drawn, rejects: &mut Rejects) -> Result<(), Error> {
    rejects.rewind().await?;
    for rejected in &drawn.plan.rejected {
        let (place, custom_id) = payload::custom_id(&drawn.scanned, &drawn.input, rejected.ordinal).await?;
        let planned = drawn.scanned.requests.get(rejected.ordinal as usize);
        let head = planned.and_then(|request| drawn.heads.get(request.group as usize));
        let answer = match planned.and_then(|request| request.answer_tokens) {
            _ if head.is_some_and(|head| !head.answers) => 0,
            Some(tokens) => tokens.get().into(),
            None => 1,
        };
        let prompt = rejected.needed.0.saturating_sub(answer);
        let line = u64::from(place.line);
        let error = LineError::context_length_exceeded(line, &custom_id, prompt, answer, rejected.limit.0);
        rejects.line(vec![error]).await?;
    }
    Ok(())
}
