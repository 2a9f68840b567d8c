//! What every log has to do with notices.

use std::time::Duration;

use super::{
    AttemptOutcome, DAY, LEASE, MessageLog, MessageState, admit, at, attempt, by, created, dead, facts, in_doubt,
    message,
};
use crate::queue::{
    Act, Admission, ClaimedNotice, Failure, HeadOfLine, LogError, MemoryLog, NewMessage, NoticeFilter, NoticeLease,
    NoticeOutcome, NoticeState, NoticeStats, NoticeView, SqliteLog, Subscriptions,
};

facts! {
    each_end_is_told_once_under_its_own_id
    nobody_is_told_who_did_not_ask
    what_its_caller_was_answered_is_not_told
    a_notice_is_leased_to_one_and_due_again_when_the_lease_ends
    a_notice_that_failed_is_kept_and_told_again_when_a_person_says_so
    notices_of_one_message_go_in_order
    what_is_paused_is_given_up_by_its_age
    a_message_with_a_notice_that_waits_is_kept
    notices_are_listed_in_parts_and_counted
    notices_move_with_their_messages
}

/// The channel of all messages is told of every end.
pub(crate) fn all_ends() -> Subscriptions {
    let ends = MessageState::ALL.into_iter().filter(|state| state.is_final());
    Subscriptions([("shop".to_owned(), ends.collect())].into())
}

async fn claim_notices(log: &dyn MessageLog, max: usize, now: u64) -> Vec<ClaimedNotice> {
    log.claim_notices("shop", max, LEASE, at(now), at(now)).await.unwrap()
}

async fn claim_notice(log: &dyn MessageLog, now: u64) -> ClaimedNotice {
    let mut claimed = claim_notices(log, 9, now).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

async fn finish(log: &dyn MessageLog, lease: &NoticeLease, outcome: NoticeOutcome, now: u64) -> Result<(), LogError> {
    log.finish_notice(lease.clone(), outcome, at(now)).await
}

fn retry(second: u64) -> NoticeOutcome {
    NoticeOutcome::RetryAt {
        at: at(second),
        error: "503".into(),
    }
}

async fn listed(log: &dyn MessageLog, filter: NoticeFilter) -> Vec<NoticeView> {
    log.notices(filter, None, 99).await.unwrap().items
}

async fn all(log: &dyn MessageLog) -> Vec<NoticeView> {
    listed(log, NoticeFilter::default()).await
}

/// Which ends are told, in the order in which they were written.
async fn told(log: &dyn MessageLog) -> Vec<(String, MessageState)> {
    let all = all(log).await.into_iter();
    all.map(|view| (view.notice.message, view.notice.state)).collect()
}

async fn each_end_is_told_once_under_its_own_id(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    let parked = AttemptOutcome::Parked {
        failure: Failure::technical("reset"),
    };
    for (number, value, outcome) in [
        (1, "a", AttemptOutcome::Delivered(created())),
        (2, "b", dead("no such article")),
        (3, "c", parked),
    ] {
        admit(log, number, value, u64::from(number)).await;
        attempt(log, 10 * u64::from(number), outcome).await;
    }
    admit(log, 4, "d", 4).await;
    assert_eq!(told(log).await.len(), 2, "a parked message has not ended");
    log.act("m3", Act::Happened, by("jo"), at(32)).await.unwrap();
    log.act("m2", Act::Retry, by("jo"), at(33)).await.unwrap();
    log.act("m2", Act::Discard, by("jo"), at(34)).await.unwrap();
    log.sweep(DAY, at(86_400 + 40)).await.unwrap();
    let expected = [
        ("m1", MessageState::Delivered),
        ("m2", MessageState::Dead),
        ("m3", MessageState::Delivered),
        ("m2", MessageState::Discarded),
        ("m4", MessageState::Expired),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(id, state)| (id.to_owned(), state)).collect();
    assert_eq!(told(log).await, expected);
    // What happens to an ended message later is no second end.
    log.sweep(DAY, at(86_400 + 50)).await.unwrap();
    assert_eq!(told(log).await.len(), 5);

    let all = all(log).await;
    let ids: std::collections::BTreeSet<_> = all.iter().map(|view| view.notice.id.as_str()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
    let NoticeView { notice, standing } = &all[1];
    assert!(
        notice.id.starts_with("m2_") && !notice.id.contains('.'),
        "{}",
        notice.id
    );
    assert_eq!((notice.channel.as_str(), notice.attempts), ("shop", 1));
    assert_eq!(notice.failure, Some(Failure::technical("no such article")));
    assert_eq!(
        (standing.state, standing.since, standing.next_try, standing.tries),
        (NoticeState::Waiting, notice.finished, Some(notice.finished), 0)
    );
}

async fn nobody_is_told_who_did_not_ask(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    attempt(log, 1, AttemptOutcome::Delivered(created())).await;
    log.subscribe(Subscriptions([("shop".to_owned(), vec![MessageState::Dead])].into()));
    admit(log, 2, "b", 2).await;
    attempt(log, 3, AttemptOutcome::Delivered(created())).await;
    let other = NewMessage {
        channel: "other".into(),
        ..message(4, "d")
    };
    log.admit(other.into(), at(4)).await.unwrap();
    attempt(log, 5, dead("no")).await;
    admit(log, 3, "c", 6).await;
    attempt(log, 6, dead("no")).await;
    assert_eq!(told(log).await, [("m3".to_owned(), MessageState::Dead)]);
    // Of messages that were there before too.
    admit(log, 5, "e", 7).await;
    log.subscribe(all_ends());
    attempt(log, 8, AttemptOutcome::Delivered(created())).await;
    assert_eq!(told(log).await.last().unwrap().0, "m5");
}

async fn what_its_caller_was_answered_is_not_told(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    for (number, value, outcome) in [
        (1, "a", AttemptOutcome::Answered(created())),
        (2, "b", AttemptOutcome::Forgotten),
        (3, "c", in_doubt(2)),
    ] {
        let message = NewMessage {
            is_synchronous: true,
            ..message(number, value)
        };
        let admission = Admission {
            attempt: Some(LEASE),
            ..message.into()
        };
        let crate::queue::Admitted::New(Some(lease)) = log.admit(admission, at(1)).await.unwrap() else {
            panic!("no lease")
        };
        log.finish(lease, outcome, at(2)).await.unwrap();
    }
    assert_eq!(told(log).await, []);
    // Its caller left without an answer: it is delivered later, and told.
    attempt(log, 3, AttemptOutcome::Delivered(created())).await;
    assert_eq!(told(log).await, [("m3".to_owned(), MessageState::Delivered)]);
}

async fn a_notice_is_leased_to_one_and_due_again_when_the_lease_ends(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    assert_eq!(log.notices_due().await.unwrap(), []);
    admit(log, 1, "a", 0).await;
    attempt(log, 1, AttemptOutcome::Delivered(created())).await;
    let ended = all(log).await[0].notice.finished;
    assert_eq!(log.notices_due().await.unwrap(), [("shop".to_owned(), ended)]);
    assert_eq!(log.claim_notices("other", 9, LEASE, at(5), at(5)).await.unwrap(), []);
    let first = claim_notice(log, 5).await;
    assert_eq!(
        (first.tries, first.since, first.notice.message.as_str()),
        (1, ended, "m1")
    );
    assert_eq!(claim_notices(log, 9, 64).await, []);
    assert_eq!(log.notices_due().await.unwrap(), [("shop".to_owned(), at(65))]);
    let resent = log.resend(&first.notice.id, by("jo"), at(10)).await;
    assert!(matches!(resent, Err(LogError::Conflict(_))), "{resent:?}");

    // The first one sleeps past its lease, and another goes on.
    let second = claim_notice(log, 65).await;
    assert_eq!(second.tries, 2);
    assert_eq!(
        finish(log, &first.lease, NoticeOutcome::Sent, 66).await,
        Err(LogError::Fenced)
    );
    finish(log, &second.lease, retry(100), 67).await.unwrap();
    assert_eq!(
        finish(log, &second.lease, NoticeOutcome::Sent, 68).await,
        Err(LogError::Fenced)
    );
    assert_eq!(claim_notices(log, 9, 99).await, []);
    let third = claim_notice(log, 100).await;
    finish(log, &third.lease, NoticeOutcome::Sent, 101).await.unwrap();
    assert_eq!(log.notices_due().await.unwrap(), []);
    let standing = all(log).await.remove(0).standing;
    assert_eq!(
        (standing.state, standing.tries, standing.ended, standing.error),
        (NoticeState::Sent, 3, Some(at(101)), None)
    );
    let nobody = NoticeLease {
        id: "m9_1".into(),
        epoch: 1,
    };
    assert_eq!(
        finish(log, &nobody, NoticeOutcome::Sent, 102).await,
        Err(LogError::Fenced)
    );
}

async fn a_notice_that_failed_is_kept_and_told_again_when_a_person_says_so(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    admit(log, 1, "a", 0).await;
    attempt(log, 1, AttemptOutcome::Delivered(created())).await;
    let claimed = claim_notice(log, 5).await;
    finish(log, &claimed.lease, NoticeOutcome::Failed("nobody there".into()), 6)
        .await
        .unwrap();
    assert_eq!(claim_notices(log, 9, 1_000).await, []);
    let failed = all(log).await.remove(0);
    assert_eq!(
        (
            failed.standing.state,
            failed.standing.error.as_deref(),
            failed.standing.ended
        ),
        (NoticeState::Failed, Some("nobody there"), Some(at(6)))
    );
    assert_eq!(log.resend("m1", by("jo"), at(7)).await, Err(LogError::Unknown));
    let resent = log.resend(&claimed.notice.id, by("jo"), at(8)).await.unwrap();
    assert_eq!(
        (
            resent.standing.state,
            resent.standing.tries,
            resent.standing.since,
            &resent.notice.id
        ),
        (NoticeState::Waiting, 0, at(8), &claimed.notice.id)
    );
    assert_eq!(all(log).await, [resent]);
    let again = claim_notice(log, 8).await;
    assert_eq!((again.tries, &again.notice), (1, &claimed.notice));
    finish(log, &again.lease, NoticeOutcome::Sent, 9).await.unwrap();
    // What was told can be told again too: its receiver may have lost it.
    log.resend(&claimed.notice.id, by("jo"), at(10)).await.unwrap();
    assert_eq!(claim_notice(log, 10).await.notice, claimed.notice);
    let history = log.show("m1").await.unwrap().unwrap().history;
    let acts: Vec<_> = history
        .iter()
        .map(|act| (act.act.as_str(), act.detail.as_str()))
        .collect();
    let act = ("resend webhook", claimed.notice.id.as_str());
    assert_eq!(acts, [act, act]);
}

async fn notices_of_one_message_go_in_order(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    admit(log, 1, "a", 0).await;
    attempt(log, 1, dead("no")).await;
    admit(log, 2, "b", 1).await;
    log.act("m1", Act::Discard, by("jo"), at(3)).await.unwrap();
    attempt(log, 3, AttemptOutcome::Delivered(created())).await;
    let first = claim_notices(log, 9, 5).await;
    let states = |claimed: &[ClaimedNotice]| claimed.iter().map(|claimed| claimed.notice.state).collect::<Vec<_>>();
    assert_eq!(states(&first), [MessageState::Dead, MessageState::Delivered]);
    finish(log, &first[0].lease, retry(50), 6).await.unwrap();
    finish(log, &first[1].lease, NoticeOutcome::Sent, 6).await.unwrap();
    // The later one is due, and waits for the earlier one.
    assert_eq!(claim_notices(log, 9, 49).await, []);
    assert_eq!(log.notices_due().await.unwrap(), [("shop".to_owned(), at(50))]);
    let again = claim_notice(log, 50).await;
    finish(log, &again.lease, NoticeOutcome::Failed("no".into()), 51)
        .await
        .unwrap();
    assert_eq!(claim_notice(log, 51).await.notice.state, MessageState::Discarded);
}

async fn what_is_paused_is_given_up_by_its_age(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    for (number, value, now) in [(1, "a", 1), (2, "b", 100)] {
        admit(log, number, value, now).await;
        attempt(log, now, AttemptOutcome::Delivered(created())).await;
    }
    let old = log.claim_notices("shop", 9, LEASE, at(50), at(200)).await.unwrap();
    let old: Vec<_> = old.iter().map(|claimed| claimed.notice.message.as_str()).collect();
    assert_eq!(old, ["m1"]);
}

async fn a_message_with_a_notice_that_waits_is_kept(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    admit(log, 1, "a", 0).await;
    attempt(log, 1, AttemptOutcome::Delivered(created())).await;
    assert_eq!(log.sweep(Duration::ZERO, at(9)).await.unwrap().messages_forgotten, 0);
    let claimed = claim_notice(log, 9).await;
    assert_eq!(log.sweep(Duration::ZERO, at(10)).await.unwrap().messages_forgotten, 0);
    finish(log, &claimed.lease, NoticeOutcome::Failed("no".into()), 11)
        .await
        .unwrap();
    assert_eq!(log.sweep(Duration::ZERO, at(12)).await.unwrap().messages_forgotten, 1);
    assert_eq!(all(log).await, []);
    assert_eq!(log.notice_stats().await.unwrap(), NoticeStats::default());
}

async fn notices_are_listed_in_parts_and_counted(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    for number in 1..=5 {
        admit(log, number, &number.to_string(), u64::from(number)).await;
        attempt(log, 10 + u64::from(number), AttemptOutcome::Delivered(created())).await;
    }
    let claimed = claim_notices(log, 2, 20).await;
    finish(log, &claimed[0].lease, NoticeOutcome::Sent, 21).await.unwrap();
    finish(log, &claimed[1].lease, NoticeOutcome::Failed("no".into()), 21)
        .await
        .unwrap();
    let whole = all(log).await;
    let stats = log.notice_stats().await.unwrap();
    let groups = [
        (("shop".to_owned(), NoticeState::Waiting), 3),
        (("shop".to_owned(), NoticeState::Failed), 1),
    ];
    assert_eq!(
        (stats.groups.clone(), stats.oldest),
        (groups.into(), Some(whole[2].standing.since))
    );
    assert_eq!(stats.in_state(NoticeState::Waiting), 3);

    let mut parts = Vec::new();
    let mut from = None;
    loop {
        let page = log.notices(NoticeFilter::default(), from, 2).await.unwrap();
        parts.extend(page.items);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(parts, whole);
    for filter in [
        NoticeFilter {
            states: vec![NoticeState::Sent, NoticeState::Failed],
            ..NoticeFilter::default()
        },
        NoticeFilter {
            channel: Some("shop".into()),
            message: Some("m4".into()),
            ..NoticeFilter::default()
        },
        NoticeFilter {
            channel: Some("other".into()),
            ..NoticeFilter::default()
        },
    ] {
        let meant: Vec<_> = whole.iter().filter(|view| filter.matches(view)).cloned().collect();
        assert_eq!(listed(log, filter.clone()).await, meant, "{filter:?}");
    }
}

async fn notices_move_with_their_messages(log: &dyn MessageLog) {
    log.subscribe(all_ends());
    let skipped = NewMessage {
        head_of_line: HeadOfLine::Skip,
        ..message(1, "a")
    };
    log.admit(skipped.into(), at(0)).await.unwrap();
    attempt(log, 2, dead("no")).await;
    admit(log, 2, "b", 1).await;
    attempt(log, 3, AttemptOutcome::Delivered(created())).await;
    claim_notices(log, 1, 5).await;
    let copies = log.export(None, 9).await.unwrap().items;
    let other = MemoryLog::default();
    other.import(copies, at(6)).await.unwrap();
    // Who held the lease there does not hold it here.
    assert_eq!(claim_notices(&other, 9, 7).await.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let third = SqliteLog::open(folder.path(), 16 << 20).unwrap();
    third
        .import(other.export(None, 9).await.unwrap().items, at(8))
        .await
        .unwrap();
    let ids = |all: Vec<NoticeView>| all.into_iter().map(|view| view.notice).collect::<Vec<_>>();
    assert_eq!(ids(all(&third).await), ids(all(log).await));
    assert_eq!(claim_notices(&third, 9, 9).await.len(), 2);
}
