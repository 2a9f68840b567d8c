//! A response is read the same in whatever pieces it arrives, and never beyond its end.
#![no_main]

use crossdock::upstream::whole_response;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let method = [Method::GET, Method::HEAD, Method::POST][usize::from(choice % 3)].clone();
    let piece = 1 + usize::from(choice / 3);
    let (whole, pieces) = (
        whole_response(&method, bytes, usize::MAX),
        whole_response(&method, bytes, piece),
    );
    match (whole, pieces) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "the same in pieces of {piece}"),
        // Of what is malformed further on, less may have arrived when it is noticed.
        (Err(_), Err(_)) => {}
        (one, other) => panic!("at once {one:?}, in pieces of {piece} {other:?}"),
    }
});
