//! What persons do with messages: every log does it alike.

use super::*;

facts! {
    a_dead_message_is_delivered_after_all
    an_expired_message_gets_new_time
    what_is_under_way_or_over_is_left_alone
    what_may_have_happened_is_not_edited
    an_edited_message_keeps_what_it_was
    a_person_resolves_doubt_either_way
    a_delivery_that_breaks_off_twice_parks_its_message
    a_message_whose_process_ends_is_a_suspect_first
    a_retried_message_does_not_go_beside_a_later_one_of_its_key
    messages_are_found_by_what_they_are
    lists_come_in_pages
    what_is_paused_stays
    a_closed_intake_refuses_new_messages_and_delivers_the_others
    limits_bound_what_waits
    channels_take_turns
    a_caller_may_make_the_first_attempt_itself
    what_never_happened_is_forgotten
    every_act_is_in_the_audit_log
    copies_move_to_another_log
}

async fn act(log: &dyn MessageLog, id: &str, act: Act, now: u64) -> Result<MessageState, LogError> {
    log.act(id, act, by("jo"), at(now)).await.map(|view| view.state)
}

async fn a_dead_message_is_delivered_after_all(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    admit(log, 2, "a", 0).await;
    for second in 1..=5 {
        let outcome = if second == 5 { dead("five times") } else { retry(second) };
        attempt(log, second, outcome).await;
    }
    assert_eq!(act(log, "m1", Act::Retry, 10).await, Ok(MessageState::Queued));
    // In its old place, with as many attempts as it had at first.
    let claimed = claim_one(log, 10).await;
    assert_eq!(
        (
            claimed.message.id.as_str(),
            claimed.attempts,
            claimed.message.max_attempts
        ),
        ("m1", 5, 10)
    );
    log.begin_attempt(claimed.lease.clone(), at(10)).await.unwrap();
    let delivered = AttemptOutcome::Delivered(created());
    log.finish(claimed.lease, delivered, at(11)).await.unwrap();
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.attempts.len(), view.failure), (6, None));
    assert_eq!(claim_ids(log, 9, 12).await, ["m2"]);
}

async fn an_expired_message_gets_new_time(log: &dyn MessageLog) {
    let short = NewMessage {
        deadline: at(10),
        ..message(1, "a")
    };
    log.put(short, at(0)).await.unwrap();
    log.sweep(DAY, at(10)).await.unwrap();
    assert_eq!(state(log, "m1").await, MessageState::Expired);
    assert_eq!(act(log, "m1", Act::Retry, 50).await, Ok(MessageState::Queued));
    assert_eq!(log.get("m1").await.unwrap().unwrap().deadline, at(60));
    assert_eq!(claim_one(log, 50).await.message.deadline, at(60));
}

async fn what_is_under_way_or_over_is_left_alone(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let lease = claim_one(log, 0).await.lease;
    for act_on in [Act::Retry, Act::Discard, Act::DidNotHappen] {
        assert!(matches!(act(log, "m1", act_on, 1).await, Err(LogError::Conflict(_))));
    }
    log.finish(lease, AttemptOutcome::Delivered(created()), at(2))
        .await
        .unwrap();
    assert!(matches!(
        act(log, "m1", Act::Discard, 3).await,
        Err(LogError::Conflict(_))
    ));
    assert_eq!(act(log, "nobody", Act::Retry, 3).await, Err(LogError::Unknown));
    assert_eq!(log.audit(0, 9).await, Ok(vec![]));
}

fn edit(body: &str, retry: bool) -> Act {
    let request = StoredRequest {
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..message(1, "a").request
    };
    Act::Edit {
        request: Box::new(request),
        retry,
    }
}

async fn what_may_have_happened_is_not_edited(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    attempt(log, 1, in_doubt(9)).await;
    let Err(LogError::Conflict(why)) = act(log, "m1", edit("{}", true), 2).await else {
        panic!("it was edited")
    };
    assert!(why.contains("release"), "{why}");
}

async fn an_edited_message_keeps_what_it_was(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let rejected = StoredResponse {
        status: 422,
        ..created()
    };
    attempt(log, 1, AttemptOutcome::Rejected(rejected)).await;
    assert_eq!(
        act(log, "m1", edit("{\"n\":2}", false), 3).await,
        Ok(MessageState::Dead)
    );
    assert_eq!(
        act(log, "m1", edit("{\"n\":3}", true), 4).await,
        Ok(MessageState::Queued)
    );
    let shown = log.show("m1").await.unwrap().unwrap();
    let bodies: Vec<_> = shown.former.iter().map(|request| &request.body[..]).collect();
    assert_eq!(bodies, [&b"{\"n\":1}"[..], b"{\"n\":2}"]);
    assert_eq!(&shown.request.unwrap().body[..], b"{\"n\":3}");
    let acts: Vec<_> = shown.history.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(acts, ["edit", "edit and retry"]);
    assert_eq!(shown.history[1].detail, "dead -> waiting");
    assert_eq!(&claim_one(log, 5).await.message.request.body[..], b"{\"n\":3}");
}

async fn a_person_resolves_doubt_either_way(log: &dyn MessageLog) {
    for (number, value) in [(1, "a"), (2, "b"), (3, "c")] {
        admit(log, number, value, 0).await;
        let unknown = Failure::technical("nobody knows");
        attempt(log, 1, AttemptOutcome::Parked { failure: unknown }).await;
    }
    assert_eq!(act(log, "m1", Act::Happened, 5).await, Ok(MessageState::Delivered));
    assert_eq!(act(log, "m2", Act::DidNotHappen, 5).await, Ok(MessageState::Queued));
    let claimed = claim_one(log, 5).await;
    assert_eq!(
        (
            claimed.message.id.as_str(),
            claimed.message.is_in_doubt,
            claimed.first_sent
        ),
        ("m2", false, None)
    );
    // A retry decides nothing: there is still doubt.
    assert_eq!(act(log, "m3", Act::Retry, 5).await, Ok(MessageState::InDoubt));
    assert!(claim_one(log, 5).await.message.is_in_doubt);

    admit(log, 4, "d", 0).await;
    for decision in [Act::Happened, Act::DidNotHappen] {
        assert!(matches!(act(log, "m4", decision, 6).await, Err(LogError::Conflict(_))));
    }
}

async fn a_delivery_that_breaks_off_twice_parks_its_message(log: &dyn MessageLog) {
    let lost = || AttemptOutcome::Lost {
        at: at(20),
        failure: Failure::technical("a panic"),
    };
    admit(log, 1, "a", 0).await;
    attempt(log, 1, lost()).await;
    assert_eq!(state(log, "m1").await, MessageState::InDoubt);
    // A delivery that comes to an end in between makes it innocent.
    attempt(log, 20, in_doubt(21)).await;
    attempt(log, 21, lost()).await;
    assert_eq!(state(log, "m1").await, MessageState::InDoubt);
    // An attempt whose lease ends is one that broke off.
    let lease = claim_one(log, 22).await.lease;
    log.begin_attempt(lease, at(22)).await.unwrap();
    log.sweep(DAY, at(100)).await.unwrap();
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.is_in_doubt), (MessageState::Parked, true));
    assert!(
        cause(&view)
            .unwrap()
            .starts_with("its delivery broke off time and again")
    );
}

async fn a_message_whose_process_ends_is_a_suspect_first(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    let ends = async |second: u64| {
        let claimed = claim_one(log, second).await;
        log.begin_attempt(claimed.lease, at(second)).await.unwrap();
        log.sweep(DAY, at(second + 100)).await.unwrap();
        claimed.breaks
    };
    assert_eq!((ends(0).await, state(log, "m1").await), (0, MessageState::InDoubt));
    assert_eq!((ends(200).await, state(log, "m1").await), (1, MessageState::InDoubt));
    // What was not sent has shown nothing: it stays a suspect.
    attempt(log, 400, put_off(401)).await;
    assert_eq!((ends(500).await, state(log, "m1").await), (2, MessageState::Parked));
    // A person has it tried again, with a clean record.
    assert_eq!(act(log, "m1", Act::Retry, 700).await, Ok(MessageState::InDoubt));
    assert_eq!((ends(700).await, state(log, "m1").await), (0, MessageState::InDoubt));
    // An attempt that comes to an end has one, too.
    attempt(log, 900, in_doubt(901)).await;
    assert_eq!(claim_one(log, 901).await.breaks, 0);
}

fn put_off(second: u64) -> AttemptOutcome {
    AttemptOutcome::RetryAt {
        at: at(second),
        failure: Failure::technical("refused"),
        counts: false,
    }
}

async fn a_retried_message_does_not_go_beside_a_later_one_of_its_key(log: &dyn MessageLog) {
    for number in 1..=3 {
        let skipped = NewMessage {
            head_of_line: HeadOfLine::Skip,
            ..message(number, "a")
        };
        log.put(skipped, at(0)).await.unwrap();
    }
    attempt(log, 1, dead("why")).await;
    let later = claim_one(log, 2).await;
    assert_eq!(later.message.id, "m2");
    assert_eq!(act(log, "m1", Act::Retry, 3).await, Ok(MessageState::Queued));
    assert_eq!(claim(log, 9, 4).await, []);
    log.finish(later.lease, AttemptOutcome::Delivered(created()), at(5))
        .await
        .unwrap();
    assert_eq!(claim_ids(log, 9, 6).await, ["m1"]);
}

async fn found(log: &dyn MessageLog, filter: MessageFilter) -> Vec<String> {
    let page = log.list(filter, None, 50).await.unwrap();
    assert_eq!(page.next, None);
    page.items.into_iter().map(|view| view.id).collect()
}

#[expect(clippy::too_many_lines, reason = "one table")]
async fn messages_are_found_by_what_they_are(log: &dyn MessageLog) {
    admit(log, 1, "a", 1).await;
    let other = NewMessage {
        api: "stock".into(),
        operation: "setStock".into(),
        channel: "wms".into(),
        order_key: OrderKey {
            upstream: "wms".into(),
            value: "b".into(),
        },
        ..message(2, "b")
    };
    log.put(other, at(2)).await.unwrap();
    admit(log, 3, "c", 3).await;
    let failure = Failure {
        class: FailureClass::Partner,
        cause: "Too MANY requests".into(),
    };
    let lease = log.claim("erp", 1, LEASE, at(4)).await.unwrap().remove(0).lease;
    let throttled = AttemptOutcome::RetryAt {
        at: at(9),
        failure,
        counts: false,
    };
    log.finish(lease, throttled, at(4)).await.unwrap();
    attempt(log, 5, dead("broken")).await;

    let all = MessageFilter::default;
    for (filter, ids) in [
        (all(), &["m1", "m2", "m3"][..]),
        (
            MessageFilter {
                states: vec![MessageState::Dead],
                ..all()
            },
            &["m3"],
        ),
        (
            MessageFilter {
                states: vec![MessageState::Dead, MessageState::Queued],
                ..all()
            },
            &["m1", "m2", "m3"],
        ),
        (
            MessageFilter {
                upstream: Some("wms".into()),
                ..all()
            },
            &["m2"],
        ),
        (
            MessageFilter {
                api: Some("orders".into()),
                ..all()
            },
            &["m1", "m3"],
        ),
        (
            MessageFilter {
                operation: Some("setStock".into()),
                ..all()
            },
            &["m2"],
        ),
        (
            MessageFilter {
                channel: Some("shop".into()),
                ..all()
            },
            &["m1", "m3"],
        ),
        (
            MessageFilter {
                key: Some("c".into()),
                ..all()
            },
            &["m3"],
        ),
        (
            MessageFilter {
                class: Some(FailureClass::Partner),
                ..all()
            },
            &["m1"],
        ),
        (
            MessageFilter {
                error: Some("too many".into()),
                ..all()
            },
            &["m1"],
        ),
        (
            MessageFilter {
                until: Some(at(2)),
                ..all()
            },
            &["m1", "m2"],
        ),
        (
            MessageFilter {
                since: Some(at(3)),
                ..all()
            },
            &["m3"],
        ),
        (
            MessageFilter {
                since: Some(at(3)),
                key: Some("a".into()),
                ..all()
            },
            &[],
        ),
    ] {
        assert_eq!(found(log, filter.clone()).await, ids, "{filter:?}");
    }
}

async fn lists_come_in_pages(log: &dyn MessageLog) {
    for number in 0..10 {
        admit(log, number, &number.to_string(), 0).await;
    }
    for filter in [
        MessageFilter::default(),
        MessageFilter {
            states: vec![MessageState::Dead, MessageState::Queued],
            ..MessageFilter::default()
        },
    ] {
        let (mut ids, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = log.list(filter.clone(), from, 4).await.unwrap();
            ids.extend(page.items.into_iter().map(|view| view.id));
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!((pages, ids), (3, (0..10).map(|number| format!("m{number}")).collect()));
    }
}

async fn what_is_paused_stays(log: &dyn MessageLog) {
    let wms = OrderKey {
        upstream: "wms".into(),
        value: "a".into(),
    };
    let other = NewMessage {
        api: "stock".into(),
        order_key: wms.clone(),
        ..message(3, "a")
    };
    admit(log, 1, "a", 0).await;
    admit(log, 2, "b", 0).await;
    log.put(other, at(0)).await.unwrap();
    for (scope, left) in [
        (PauseScope::All, &[][..]),
        (PauseScope::Upstream("erp".into()), &["wms"]),
        (PauseScope::Api("stock".into()), &["erp"]),
        (PauseScope::Key(wms), &["erp"]),
        (PauseScope::Intake, &["erp", "wms"]),
    ] {
        log.pause(scope.clone(), by("jo"), at(1)).await.unwrap();
        log.pause(scope.clone(), by("ann"), at(2)).await.unwrap();
        let pauses = log.pauses().await.unwrap();
        assert_eq!((pauses.len(), pauses[0].since, &pauses[0].by), (1, at(1), &by("jo")));
        let due: Vec<_> = log
            .due()
            .await
            .unwrap()
            .into_iter()
            .map(|(upstream, _)| upstream)
            .collect();
        assert_eq!(due, left, "{scope}");
        assert_eq!(log.resume(scope.clone(), by("jo"), at(3)).await, Ok(true));
        assert_eq!(log.resume(scope, by("jo"), at(3)).await, Ok(false));
    }
    // Nothing of a paused API goes out directly either: it would be what the pause is for.
    let free = key("free");
    assert_eq!(log.gate("orders", &free).await, Ok(Gate::Open));
    log.pause(PauseScope::Upstream("erp".into()), by("jo"), at(4))
        .await
        .unwrap();
    assert_eq!(log.gate("orders", &free).await, Ok(Gate::Paused));
    assert_eq!(log.gate("orders", &key("a")).await, Ok(Gate::Behind(1)));
    assert_eq!(claim(log, 9, 5).await, []);
    // A key that is paused stays so while messages come and go.
    log.pause(PauseScope::Key(key("a")), by("jo"), at(5)).await.unwrap();
    log.resume(PauseScope::Upstream("erp".into()), by("jo"), at(5))
        .await
        .unwrap();
    admit(log, 4, "a", 6).await;
    act(log, "m1", Act::Discard, 7).await.unwrap();
    assert_eq!(claim_ids(log, 9, 8).await, ["m2"]);
    log.resume(PauseScope::Key(key("a")), by("jo"), at(9)).await.unwrap();
    assert_eq!(claim_ids(log, 9, 9).await, ["m4"]);
}

async fn a_closed_intake_refuses_new_messages_and_delivers_the_others(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    log.pause(PauseScope::Intake, by("jo"), at(1)).await.unwrap();
    assert_eq!(log.health(), Health::Draining);
    assert_eq!(log.put(message(2, "b"), at(2)).await, Err(LogError::Draining));
    // What is known is still answered.
    assert!(matches!(log.put(message(1, "a"), at(2)).await, Ok(Admitted::Replay(_))));
    attempt(log, 3, AttemptOutcome::Delivered(created())).await;
    log.resume(PauseScope::Intake, by("jo"), at(4)).await.unwrap();
    assert_eq!(log.health(), Health::Ok);
    admit(log, 2, "b", 5).await;
}

async fn limits_bound_what_waits(log: &dyn MessageLog) {
    let limited = |number: u8, channel: &str| Admission {
        limits: Limits {
            api: Some(3),
            channel: Some(2),
        },
        ..NewMessage {
            channel: channel.into(),
            ..message(number, &number.to_string())
        }
        .into()
    };
    let new = Ok(Admitted::New(None));
    assert_eq!(log.admit(limited(1, "shop"), at(0)).await, new);
    assert_eq!(log.admit(limited(2, "shop"), at(0)).await, new);
    let refused = log.admit(limited(3, "shop"), at(0)).await;
    assert_eq!(refused, Err(LogError::TooMany("channel shop".into())));
    assert_eq!(log.admit(limited(3, "edi"), at(0)).await, new);
    let refused = log.admit(limited(4, "web"), at(0)).await;
    assert_eq!(refused, Err(LogError::TooMany("API orders".into())));
    // A repeat is not a new message.
    assert!(matches!(
        log.admit(limited(1, "shop"), at(1)).await,
        Ok(Admitted::Replay(_))
    ));
    act(log, "m1", Act::Discard, 2).await.unwrap();
    assert_eq!(log.admit(limited(4, "web"), at(3)).await, new);
}

async fn channels_take_turns(log: &dyn MessageLog) {
    for number in 0..12 {
        let channel = if number < 10 { "noisy" } else { "quiet" };
        let new = NewMessage {
            channel: channel.into(),
            ..message(number, &number.to_string())
        };
        log.put(new, at(0)).await.unwrap();
    }
    assert_eq!(claim_ids(log, 4, 1).await, ["m0", "m10", "m1", "m11"]);
}

async fn a_caller_may_make_the_first_attempt_itself(log: &dyn MessageLog) {
    let own = |number: u8, value: &str| Admission {
        attempt: Some(LEASE),
        ..NewMessage {
            is_synchronous: true,
            ..message(number, value)
        }
        .into()
    };
    let Ok(Admitted::New(Some(lease))) = log.admit(own(1, "a"), at(0)).await else {
        panic!("no lease")
    };
    let view = log.get("m1").await.unwrap().unwrap();
    assert!(view.is_being_answered(), "{view:?}");
    assert_eq!((view.attempts.len(), view.attempts[0].started), (1, at(0)));
    // Its key is held: the next one has to wait, and makes no attempt of its own.
    assert_eq!(log.admit(own(2, "a"), at(1)).await, Ok(Admitted::New(None)));
    assert_eq!(claim(log, 9, 2).await, []);
    let answer = StoredResponse {
        status: 422,
        ..created()
    };
    log.finish(lease, AttemptOutcome::Answered(answer.clone()), at(3))
        .await
        .unwrap();
    let view = log.get("m1").await.unwrap().unwrap();
    assert_eq!((view.state, view.response), (MessageState::Delivered, Some(answer)));
    assert_eq!(claim_ids(log, 9, 4).await, ["m2"]);

    // A crash in between leaves doubt, and the doubt is resolved like any other.
    let Ok(Admitted::New(Some(_))) = log.admit(own(3, "c"), at(5)).await else {
        panic!("no lease")
    };
    log.sweep(DAY, at(64)).await.unwrap();
    assert_eq!(state(log, "m3").await, MessageState::Attempting);
    log.sweep(DAY, at(65)).await.unwrap();
    assert_eq!(state(log, "m3").await, MessageState::InDoubt);
    assert!(claim(log, 9, 65).await.iter().any(|claimed| claimed.message.id == "m3"));
}

async fn what_never_happened_is_forgotten(log: &dyn MessageLog) {
    let own = Admission {
        attempt: Some(LEASE),
        ..message(1, "a").into()
    };
    let Ok(Admitted::New(Some(lease))) = log.admit(own, at(0)).await else {
        panic!("no lease")
    };
    log.finish(lease, AttemptOutcome::Forgotten, at(1)).await.unwrap();
    assert_eq!(log.get("m1").await, Ok(None));
    assert_eq!((log.find([1; 32]).await, log.depth(&key("a")).await), (Ok(None), 0));
    admit(log, 1, "a", 2).await;
}

async fn every_act_is_in_the_audit_log(log: &dyn MessageLog) {
    admit(log, 1, "a", 0).await;
    log.pause(PauseScope::All, by("ann"), at(1)).await.unwrap();
    act(log, "m1", Act::Discard, 2).await.unwrap();
    log.resume(PauseScope::All, by("ann"), at(3)).await.unwrap();
    let note = audit::NewEntry {
        actor: "ann".into(),
        act: "export".into(),
        subject: "queue".into(),
        reason: "moving house".into(),
        detail: "1 message".into(),
    };
    log.record(note, at(4)).await.unwrap();

    let entries = log.audit(0, 99).await.unwrap();
    let said: Vec<_> = entries
        .iter()
        .map(|entry| (entry.actor.as_str(), entry.act.as_str(), entry.subject.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("ann", "pause", "all"),
            ("jo", "discard", "m1"),
            ("ann", "resume", "all"),
            ("ann", "export", "queue")
        ]
    );
    assert_eq!((entries[1].at, entries[1].reason.as_str()), (at(2), "ticket 7"));
    let mut head = audit::Head::default();
    entries.iter().try_for_each(|entry| head.verify(entry)).unwrap();
    assert_eq!(log.audit(2, 1).await.unwrap(), entries[2..3]);
}

async fn copies_move_to_another_log(log: &dyn MessageLog) {
    for (number, value) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
        admit(log, number, value, u64::from(number)).await;
    }
    let first = claim(log, 1, 9).await.remove(0).lease;
    log.begin_attempt(first.clone(), at(9)).await.unwrap();
    log.finish(first, AttemptOutcome::Delivered(created()), at(9))
        .await
        .unwrap();
    act(log, "m4", edit("{\"n\":9}", false), 10).await.unwrap();
    // The first claim was m1's, and m2 is before m3 in the queue.
    let lease = claim(log, 2, 10).await.remove(1).lease;
    assert_eq!(lease.id, "m3");
    log.begin_attempt(lease, at(10)).await.unwrap();

    let other = MemoryLog::default();
    let mut from = None;
    loop {
        let page = log.export(from, 3).await.unwrap();
        other.import(page.items, at(20)).await.unwrap();
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    // What was leased and not begun is as it was before.
    log.sweep(DAY, at(100)).await.unwrap();
    for id in ["m1", "m2", "m4"] {
        let (here, there) = (
            log.show(id).await.unwrap().unwrap(),
            other.show(id).await.unwrap().unwrap(),
        );
        assert_eq!(
            (here.view, here.request, here.former),
            (there.view, there.request, there.former)
        );
    }
    assert_eq!(state(&other, "m3").await, MessageState::InDoubt);
    // And back: nothing is taken twice, order is kept.
    let all = other.export(None, 9).await.unwrap().items;
    assert_eq!(log.import(all.clone(), at(21)).await, Ok(0));
    let folder = tempfile::tempdir().unwrap();
    let third = SqliteLog::open(folder.path(), 16 << 20).unwrap();
    assert_eq!(third.import(all, at(22)).await, Ok(4));
    assert_eq!(third.depth(&key("a")).await, 1);
    assert_eq!(third.export(None, 9).await, other.export(None, 9).await);
    // What was under way is due since it was taken over.
    assert_eq!(claim_ids(&third, 9, 30).await, ["m2", "m4", "m3"]);
}
