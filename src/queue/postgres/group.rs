//! Commits for many callers at once: while one waits for the disk, the next group gathers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    book::{Book, Place},
    codec::{day, digest, rounded},
    days,
    session::{Database, Failure, Session},
};
use crate::queue::{
    Admission, AttemptOutcome, Group, Lease, LogError, LogFuture, MessageState, PauseScope, Standing, after,
};

/// At most so many commands, or so many bytes of bodies, are in one commit.
const GROUP_COMMANDS: usize = 512;
const GROUP_BYTES: usize = 1 << 20;
/// Callers beyond these wait.
const WAITING: usize = 1024;
/// Groups at the same time: while one is committed, the next is written.
const COMMITTERS: usize = 2;

/// What is done in groups.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Admit(Box<Admission>),
    Begin(Lease),
    Renew(Lease, Duration),
    Finish(Lease, Box<AttemptOutcome>),
}

/// What came of a command.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Admitted(Option<Lease>),
    /// The message of that id has the scope and the fingerprint.
    Known(String),
    Mismatch,
    Begun(u32),
    Nothing,
}

struct Job {
    command: Command,
    now: Timestamp,
    answer: oneshot::Sender<Result<Done, LogError>>,
}

/// Where commands are handed in.
pub(super) struct Committers {
    jobs: mpsc::Sender<Job>,
}

impl Committers {
    pub(super) fn start(database: &Arc<Database>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..COMMITTERS {
            let (database, waiting) = (Arc::clone(database), Arc::clone(&waiting));
            tokio::spawn(async move {
                while let Some(group) = next(&waiting).await {
                    commit(&database, group).await;
                }
            });
        }
        Self { jobs }
    }

    pub(super) fn submit(&self, command: Command, now: Timestamp) -> LogFuture<'static, Done> {
        let jobs = self.jobs.clone();
        let (answer, answered) = oneshot::channel();
        let job = Job {
            command,
            now: rounded(now),
            answer,
        };
        Box::pin(async move {
            jobs.send(job).await.map_err(|_| LogError::Closed)?;
            answered.await.map_err(|_| LogError::Closed)?
        })
    }
}

async fn next(waiting: &Mutex<mpsc::Receiver<Job>>) -> Option<Vec<Job>> {
    let mut waiting = waiting.lock().await;
    let first = waiting.recv().await?;
    let mut bytes = size(&first.command);
    let mut group = vec![first];
    while group.len() < GROUP_COMMANDS && bytes < GROUP_BYTES {
        let Ok(job) = waiting.try_recv() else { break };
        bytes += size(&job.command);
        group.push(job);
    }
    Some(group)
}

fn size(command: &Command) -> usize {
    match command {
        Command::Admit(admission) => admission.message.request.body.len(),
        Command::Finish(_, outcome) => outcome.response().map_or(0, |response| response.body.len()),
        Command::Begin(_) | Command::Renew(..) => 0,
    }
}

async fn commit(database: &Arc<Database>, group: Vec<Job>) {
    match commit_all(database, &group).await {
        Ok(done) => {
            for (job, done) in group.into_iter().zip(done) {
                // A caller that stopped waiting needs no answer.
                let _ = job.answer.send(done);
            }
        }
        Err(error) => {
            let is_shared = matches!(error, LogError::Unavailable(_)) && database.away().is_none();
            if is_shared && group.len() > 1 {
                // One of them was too much: the others may be stored.
                for job in group {
                    Box::pin(commit(database, vec![job])).await;
                }
                return;
            }
            for job in group {
                let _ = job.answer.send(Err(error.clone()));
            }
        }
    }
}

/// What a round before, whose commit may have gone through, made of a command.
struct Intended {
    done: Done,
    /// `None` where the message was to be gone.
    standing: Option<Standing>,
}

type Outcomes = Vec<Result<Done, LogError>>;

async fn commit_all(database: &Arc<Database>, group: &[Job]) -> Result<Outcomes, LogError> {
    let mut tries = database.tries();
    // By the number of the command. What may have been committed is kept until it is known.
    let mut intended: HashMap<usize, Intended> = HashMap::new();
    loop {
        for job in group {
            if matches!(job.command, Command::Admit(_)) {
                days::make(database, day(job.now)).await?;
            }
        }
        let session = tries.begin().await?;
        let done = apply(database, &session, group, &intended).await;
        let (done, plan, wakes) = match done {
            Ok((done, plan, wakes)) => (Ok(done), plan, wakes),
            Err(failure) => (Err(failure), HashMap::new(), false),
        };
        let was_in_doubt = tries.is_in_doubt;
        if let Some(ended) = tries.end(session, done).await {
            if ended.is_ok() {
                database.committed(wakes);
            }
            return ended;
        }
        if tries.is_in_doubt && !was_in_doubt {
            intended = plan;
        }
    }
}

async fn apply(
    database: &Database,
    session: &Session,
    group: &[Job],
    intended: &HashMap<usize, Intended>,
) -> Result<(Outcomes, HashMap<usize, Intended>, bool), Failure> {
    let (mut keys, mut ids, mut scopes, mut new_ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for job in group {
        match &job.command {
            Command::Admit(admission) => {
                keys.push(digest(&admission.message.order_key));
                scopes.push(admission.message.scope);
                new_ids.push(admission.message.id.clone());
            }
            Command::Begin(lease) | Command::Renew(lease, _) | Command::Finish(lease, _) => ids.push(lease.id.clone()),
        }
    }
    let mut book = Book::open(session, &keys, &ids).await?;
    let mut limits = Limits::default();
    let mut seqs = Vec::new().into_iter();
    if !scopes.is_empty() {
        book.know(&scopes, &new_ids).await?;
        if group
            .iter()
            .any(|job| matches!(&job.command, Command::Admit(new) if new.limits != crate::queue::Limits::default()))
        {
            limits = Limits(super::read::groups(session).await?.into_iter().collect());
        }
        seqs = book.reserve(scopes.len()).await?.into_iter();
    }
    let mut outcomes = Vec::new();
    let mut plan = HashMap::new();
    let mut admitted = 0;
    for (number, job) in group.iter().enumerate() {
        if let Some(before) = intended.get(&number)
            && was_done(&book, &job.command, before)
        {
            outcomes.push(Ok(before.done.clone()));
            continue;
        }
        let outcome = match &job.command {
            Command::Admit(admission) => {
                let seq = seqs.next().ok_or(Failure::Again)?;
                admit(database, &mut book, &limits, admission, seq, job.now)
            }
            Command::Begin(lease) => begin(database, &mut book, lease, job.now),
            Command::Renew(lease, length) => renew(database, &mut book, lease, *length, job.now),
            Command::Finish(lease, outcome) => finish(database, &mut book, lease, outcome, job.now),
        };
        if let Ok((done, place)) = &outcome {
            admitted += u64::from(matches!(done, Done::Admitted(_)));
            if let Some(place) = place {
                let id = id_of(&job.command);
                let standing = book.find(id).map(|_| book.at(*place).whole.standing.clone());
                let done = done.clone();
                plan.insert(number, Intended { done, standing });
            }
        }
        outcomes.push(outcome.map(|(done, _)| done));
    }
    let wakes = book.close().await?;
    database
        .admitted
        .fetch_add(admitted, std::sync::atomic::Ordering::Relaxed);
    Ok((outcomes, plan, wakes))
}

fn id_of(command: &Command) -> &str {
    match command {
        Command::Admit(admission) => &admission.message.id,
        Command::Begin(lease) | Command::Renew(lease, _) | Command::Finish(lease, _) => &lease.id,
    }
}

/// Whether the message stands as a commit of unknown outcome would have left it.
fn was_done(book: &Book<'_>, command: &Command, intended: &Intended) -> bool {
    let found = book.find(id_of(command)).map(|place| book.standing(place));
    match (&intended.standing, command) {
        // It is there, and nobody else would have stored it with this id; it may have moved on since.
        (_, Command::Admit(_)) => found.is_some(),
        (Some(standing), _) => found == Some(standing),
        (None, _) => found.is_none(),
    }
}

type Outcome = Result<(Done, Option<Place>), LogError>;

fn admit(
    database: &Database,
    book: &mut Book<'_>,
    limits: &Limits,
    admission: &Admission,
    seq: i64,
    now: Timestamp,
) -> Outcome {
    let message = &admission.message;
    if let Some(known) = book.known(message) {
        let is_same = known.message.scope == message.scope && known.message.fingerprint == message.fingerprint;
        let done = if is_same {
            Done::Known(known.message.id.clone())
        } else {
            Done::Mismatch
        };
        return Ok((done, None));
    }
    if book.pauses.contains_key(&PauseScope::Intake) {
        return Err(LogError::Draining);
    }
    limits.check(book, admission)?;
    if database.is_full() {
        return Err(LogError::Full);
    }
    let until = admission.attempt.filter(|_| !book.is_held(&digest(&message.order_key)));
    let until = until.map(|length| after(now, length));
    let standing = Standing::admitted(message, until, now);
    let number = standing.attempts;
    let place = book.insert(seq, message.clone(), true, now, &standing, now);
    let lease = until.map(|_| book.at(place).whole.lease());
    if lease.is_some() {
        book.at(place).holder = Some((database.node.clone(), 0));
        book.started(place, number, now);
    }
    Ok((Done::Admitted(lease), Some(place)))
}

fn begin(database: &Database, book: &mut Book<'_>, lease: &Lease, now: Timestamp) -> Outcome {
    let place = book.find(&lease.id).ok_or(LogError::Fenced)?;
    let mut standing = book.standing(place).clone();
    let number = standing.begin(&presented(database, book, place, lease), now)?;
    book.set(place, &standing);
    book.started(place, number, now);
    Ok((Done::Begun(number), Some(place)))
}

fn renew(database: &Database, book: &mut Book<'_>, lease: &Lease, length: Duration, now: Timestamp) -> Outcome {
    let place = book.find(&lease.id).ok_or(LogError::Fenced)?;
    let mut standing = book.standing(place).clone();
    standing.renew(&presented(database, book, place, lease), after(now, length), now)?;
    book.set(place, &standing);
    Ok((Done::Nothing, Some(place)))
}

fn finish(
    database: &Database,
    book: &mut Book<'_>,
    lease: &Lease,
    outcome: &AttemptOutcome,
    now: Timestamp,
) -> Outcome {
    let place = book.find(&lease.id).ok_or(LogError::Fenced)?;
    let mut standing = book.standing(place).clone();
    let ended = standing.finish(&presented(database, book, place, lease), outcome, now)?;
    book.set(place, &standing);
    if *outcome == AttemptOutcome::Forgotten {
        book.remove(place);
        return Ok((Done::Nothing, Some(place)));
    }
    book.ended(place, ended, now);
    if !outcome.is_news() {
        book.at(place).is_quiet = true;
    }
    if let Some(response) = outcome.response() {
        book.keep_response(place, response.clone());
    }
    if standing.state == MessageState::Delivered {
        book.drop_request(place);
    }
    Ok((Done::Nothing, Some(place)))
}

/// The lease that a caller presents.
#[cfg(not(test))]
fn presented(_: &Database, _: &Book<'_>, _: Place, lease: &Lease) -> Lease {
    lease.clone()
}

/// The same, with a switch that takes every epoch on trust: for the test that shows that the others would notice.
#[cfg(test)]
fn presented(database: &Database, book: &Book<'_>, place: Place, lease: &Lease) -> Lease {
    let is_trusted = database.trusts_every_epoch.load(std::sync::atomic::Ordering::Relaxed);
    let epoch = if is_trusted {
        book.standing(place).epoch
    } else {
        lease.epoch
    };
    Lease {
        epoch,
        id: lease.id.clone(),
    }
}

/// Undelivered messages by group, without those of the open transaction.
#[derive(Default)]
struct Limits(HashMap<Group, u64>);

impl Limits {
    fn check(&self, book: &Book<'_>, admission: &Admission) -> Result<(), LogError> {
        let message = &admission.message;
        let count = |channel: Option<&str>| {
            let is_meant = |api: &str, of: &str| api == message.api && channel.is_none_or(|channel| channel == of);
            let stored = self
                .0
                .iter()
                .filter(|(group, _)| group.holds && is_meant(&group.api, &group.channel));
            let stored: u64 = stored.map(|(_, count)| count).sum();
            stored.saturating_add_signed(book.added(|other| is_meant(&other.api, &other.channel)))
        };
        if admission.limits.api.is_some_and(|max| count(None) >= max) {
            return Err(LogError::TooMany(format!("API {}", message.api)));
        }
        if admission
            .limits
            .channel
            .is_some_and(|max| count(Some(&message.channel)) >= max)
        {
            return Err(LogError::TooMany(format!("channel {}", message.channel)));
        }
        Ok(())
    }
}
