//! Which share of callers is let in first: the same ones every time.

/// Whether a value belongs to a share, from 0 to 1. `salt` keeps shares of different things apart: whoever is first
/// with one version is not first with all.
pub(crate) fn is_in(salt: &str, value: &str, share: f64) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt.as_bytes());
    // No name holds this byte, so salt and value do not run into each other.
    hasher.update(&[0xff]);
    hasher.update(value.as_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
    f64::from(u32::from_le_bytes(first)) < share * 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_grows_without_changing_who_was_in() {
        let members = |share: f64| -> Vec<u32> {
            let all = 0..10_000;
            all.filter(|number| is_in("orders/v3", &format!("channel-{number}"), share))
                .collect()
        };
        let (five, ten) = (members(0.05), members(0.1));
        assert!((400..600).contains(&five.len()), "{}", five.len());
        assert!((850..1_150).contains(&ten.len()), "{}", ten.len());
        assert!(five.iter().all(|number| ten.contains(number)));
        assert_eq!((members(0.0).len(), members(1.0).len()), (0, 10_000));
    }

    #[test]
    fn shares_of_different_versions_are_different_callers() {
        let both = (0..10_000)
            .map(|number| format!("channel-{number}"))
            .filter(|name| is_in("orders/v3", name, 0.1) && is_in("orders/v4", name, 0.1))
            .count();
        assert!((50..150).contains(&both), "{both}");
    }
}
