//! Refusals that say what was wrong with the way we asked: it is mended, once, and remembered.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use object_storage::ErrorKind;
use tests::scripted::{Answer, Server, answer};

use crate::operations::{Op, READS, WRITES};
use crate::store::{outcome, run, store};

fn said(op: Op, answer: Answer) -> Vec<u8> {
    if op == Op::Head { answer.head() } else { answer.raw() }
}

/// The region in what a request was signed for.
fn region(server: &Server, request: usize) -> String {
    let authorization = server.seen()[request].header("authorization").expect("signed");
    authorization.split('/').nth(2).expect("a scope").to_owned()
}

#[test]
fn a_bucket_in_another_region_is_asked_there_and_from_then_on() {
    run(join_all(WRITES.into_iter().chain(READS).map(|op| async move {
        for status in [301, 307, 400] {
            let code = if status == 400 { "AuthorizationHeaderMalformed" } else { "PermanentRedirect" };
            let elsewhere = Answer::error(status, code).header("x-amz-bucket-region", "eu-central-7");
            let first = answer(said(op, elsewhere));
            let server = Server::new(vec![first, op.good_step(), op.good_step()]);
            let store = store(&server).await;
            for _ in 0..2 {
                let result = op.run(&store).await;
                assert_eq!(outcome(&result, &server), None, "{op:?}, {status}: {result:?}");
            }
            let regions: Vec<_> = (0..3).map(|request| region(&server, request)).collect();
            assert_eq!(regions, ["eu-test-1", "eu-central-7", "eu-central-7"], "{op:?}, {status}");
        }
    })));
}

#[test]
fn a_region_in_the_document_will_do_and_circles_end() {
    run(async {
        let named = |region: &str| {
            let body =
                format!("<Error><Code>AuthorizationHeaderMalformed</Code><Region>{region}</Region></Error>");
            answer(Answer::new(400).body(body))
        };
        let server = Server::new(vec![named("us-x-1"), Op::Create.good_step()]);
        assert_eq!(outcome(&Op::Create.run(&store(&server).await).await, &server), None);
        let server = Server::new(vec![named("us-x-1"), named("us-x-2"), named("us-x-3")]);
        let result = Op::Create.run(&store(&server).await).await;
        assert_eq!((outcome(&result, &server), server.seen().len()), (Some(ErrorKind::Config), 2));
        for bad in ["evil.example/", "eu-test-1", ""] {
            let server = Server::new(vec![named(bad), Op::Create.good_step()]);
            let result = Op::Create.run(&store(&server).await).await;
            assert_eq!(
                (outcome(&result, &server), server.seen().len()),
                (Some(ErrorKind::Config), 1),
                "{bad:?}"
            );
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "the server's clock is compared with ours")]
fn date(ahead_seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    http_date(now.checked_add_signed(ahead_seconds).expect("a time"))
}

/// As RFC 9110 has it, by the calendar of 400 years.
fn http_date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = |names: &str, at: u64| {
        names.split(' ').nth(usize::try_from(at).unwrap_or(0)).unwrap_or("").to_owned()
    };
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name("Thu Fri Sat Sun Mon Tue Wed", days % 7),
        name("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", month - 1),
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[test]
fn dates_of_these_tests_are_right() {
    assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
}

#[test]
fn a_clock_that_is_off_is_corrected_once_and_stays_so() {
    run(join_all(WRITES.into_iter().chain(READS).map(|op| async move {
        let ahead = Answer::error(403, "RequestTimeTooSkewed").header("date", &date(7200));
        let server = Server::new(vec![answer(said(op, ahead)), op.good_step(), op.good_step()]);
        let store = store(&server).await;
        for _ in 0..2 {
            let result = op.run(&store).await;
            assert_eq!(outcome(&result, &server), None, "{op:?}: {result:?}");
        }
        let hour = |request: usize| {
            let seen = server.seen();
            let date = seen[request].header("x-amz-date").expect("signed");
            date[9..11].parse::<i64>().expect("an hour")
        };
        let moved = (hour(1) - hour(0)).rem_euclid(24);
        assert!((1..=2).contains(&moved), "{op:?}: {moved} hours");
        assert!((hour(2) - hour(1)).rem_euclid(24) <= 1, "{op:?}: remembered");
    })));
}

#[test]
fn a_clock_that_is_right_or_a_day_off_is_not_touched() {
    run(async {
        for ahead in [0, 60, 200_000, -200_000] {
            let refused = Answer::error(403, "RequestTimeTooSkewed").header("date", &date(ahead));
            let server = Server::always(answer(refused));
            let result = Op::Create.run(&store(&server).await).await;
            assert_eq!(
                (outcome(&result, &server), server.seen().len()),
                (Some(ErrorKind::Unauthenticated), 1),
                "{ahead}"
            );
        }
        // What does not help is not done twice.
        let refused = Answer::error(403, "RequestTimeTooSkewed").header("date", &date(7200));
        let server = Server::always(answer(refused));
        let result = Op::Create.run(&store(&server).await).await;
        assert_eq!((outcome(&result, &server), server.seen().len()), (Some(ErrorKind::Unauthenticated), 2));
        // A refusal that is about something else, from a store whose clock is wrong.
        let refused = Answer::error(403, "AccessDenied").header("date", &date(7200));
        let server = Server::always(answer(refused));
        let result = Op::Create.run(&store(&server).await).await;
        assert_eq!((outcome(&result, &server), server.seen().len()), (Some(ErrorKind::PermissionDenied), 1));
    });
}

/// Many at once, and a store that can take one at a time: all of them get there.
#[test]
fn a_store_that_asks_for_less_is_given_less() {
    run(async {
        let slow = answer(Answer::error(503, "SlowDown"));
        let steps = [vec![slow; 8], vec![Op::Get.good_step(); 8], vec![Op::Get.good_step(); 8]].concat();
        let server = Server::new(steps);
        let store = store(&server).await;
        let all = join_all((0..8).map(|_| Op::Get.run(&store)));
        let all = compio::time::timeout(Duration::from_secs(20), all).await.expect("in time");
        for result in all {
            assert_eq!(outcome(&result, &server), None, "{result:?}");
        }
        assert_eq!(server.seen().len(), 16);
    });
}
