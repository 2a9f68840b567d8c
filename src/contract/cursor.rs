//! Cursors that outlive a request: what a caller gets is sealed, and says to which version and operation it belongs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Name of the file in the state folder that holds the key.
const FILE: &str = "cursor.key";
/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the tag that a cursor begins with, after its format's number.
const TAG: usize = 16;
/// The first byte of every cursor.
const FORMAT: u8 = 1;

/// Seals cursors. One per gateway; gateways that serve the same callers share it.
pub struct CursorKey(hmac::Key);

impl CursorKey {
    /// A key of so many bytes as are given; fewer than 32 are refused.
    pub fn new(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < KEY {
            return Err(format!(
                "the key for cursors has {} bytes; it needs at least {KEY}",
                secret.len()
            ));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// One that nobody else has, for as long as the process lives.
    fn random() -> Self {
        // Where the system has no random bytes, a key that is hard to guess is better than one that everybody knows.
        let secret = fresh().unwrap_or_else(|_| std::array::from_fn(|_| fastrand::u8(..)));
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// The key kept in a state folder; made on first use, readable by its owner alone.
    fn kept_in(state: &Path) -> io::Result<Self> {
        let path = state.join(FILE);
        let named = |cause: io::Error| io::Error::new(cause.kind(), format!("{}: {cause}", path.display()));
        let secret = match fs::read(&path) {
            Ok(secret) => secret,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let secret = fresh()?;
                fs::create_dir_all(state).map_err(named)?;
                let mut options = OpenOptions::new();
                options.write(true).create_new(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(&path).map_err(named)?;
                file.write_all(&secret).and_then(|()| file.sync_all()).map_err(named)?;
                File::open(state)?.sync_all()?;
                secret.to_vec()
            }
            Err(cause) => return Err(named(cause)),
        };
        Self::new(&secret).map_err(|wrong| named(io::Error::new(io::ErrorKind::InvalidData, wrong)))
    }

    fn tag(&self, payload: &[u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&hmac::sign(&self.0, payload).as_ref()[..TAG]);
        tag
    }
}

fn fresh() -> io::Result<[u8; KEY]> {
    let mut secret = [0; KEY];
    rand::fill(&mut secret).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(secret)
}

/// The key of a process. Outlives snapshots, so that a cursor does.
#[derive(Default)]
pub struct CursorKeys(OnceLock<Arc<CursorKey>>);

impl CursorKeys {
    /// Uses the key that a state folder keeps, unless another one was given before.
    pub fn keep_in(&self, state: &Path) -> io::Result<()> {
        if self.0.get().is_none() {
            let _ = self.0.set(Arc::new(CursorKey::kept_in(state)?));
        }
        Ok(())
    }

    /// Uses this key. The first one that is given counts.
    pub fn give(&self, key: CursorKey) {
        let _ = self.0.set(Arc::new(key));
    }

    /// The key; where none was given, one that ends with the process.
    pub fn key(&self) -> Arc<CursorKey> {
        self.0.get_or_init(|| Arc::new(CursorKey::random())).clone()
    }
}

/// Seals and opens the cursors of one operation in one version.
pub(super) struct Sealer {
    pub(super) key: Arc<CursorKey>,
    pub(super) api: Arc<str>,
    pub(super) operation: Arc<str>,
    /// The caller's version.
    pub(super) caller: Arc<str>,
    /// The upstream's version.
    pub(super) upstream: Arc<str>,
    /// Of the mappings between them. A cursor keeps its meaning when they are corrected: it is the upstream's.
    pub(super) revision: String,
}

impl Sealer {
    /// What a caller gets in the place of an upstream's cursor: text of letters, digits, `-` and `_`.
    pub(super) fn seal(&self, cursor: &str) -> String {
        let payload = [
            &*self.api,
            &self.operation,
            &self.caller,
            &self.upstream,
            &self.revision,
            cursor,
        ];
        let payload = serde_json::json!(payload).to_string();
        let mut bytes = vec![FORMAT];
        bytes.extend(self.key.tag(payload.as_bytes()));
        bytes.extend(payload.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The upstream's cursor again. The error is a phrase.
    pub(super) fn open(&self, sealed: &str) -> Result<String, String> {
        let foreign = || "a cursor that was not given out here".to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| foreign())?;
        let (head, payload) = bytes.split_at_checked(1 + TAG).ok_or_else(foreign)?;
        let is_ours: bool = subtle::ConstantTimeEq::ct_eq(&head[1..], &self.key.tag(payload)[..]).into();
        if head[0] != FORMAT || !is_ours {
            return Err(foreign());
        }
        let parts: [String; 6] = serde_json::from_slice(payload).map_err(|_| foreign())?;
        let [api, operation, caller, upstream, _, cursor] = parts;
        for (what, said, own) in [
            ("API", &api, &self.api),
            ("operation", &operation, &self.operation),
            ("contract version", &caller, &self.caller),
        ] {
            if **said != **own {
                return Err(format!("a cursor of {what} {said}, where {own} is called"));
            }
        }
        if *upstream != *self.upstream {
            return Err("a cursor from before the upstream changed; begin with the first page".to_owned());
        }
        Ok(cursor)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({}/{} {})", self.api, self.operation, self.caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: &Arc<CursorKey>, parts: [&str; 4]) -> Sealer {
        let [api, operation, caller, upstream] = parts.map(Arc::from);
        Sealer {
            key: key.clone(),
            api,
            operation,
            caller,
            upstream,
            revision: "r1".to_owned(),
        }
    }

    #[test]
    fn a_cursor_comes_back_only_where_it_was_given_out() {
        let key = Arc::new(CursorKey::random());
        let own = ["erp", "list", "v1", "v3"];
        let sealed = sealer(&key, own).seal("abc\"ä/9");
        assert!(
            sealed
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_eq!(sealer(&key, own).open(&sealed).as_deref(), Ok("abc\"ä/9"));
        for (parts, told) in [
            (["wms", "list", "v1", "v3"], "a cursor of API erp, where wms is called"),
            (
                ["erp", "find", "v1", "v3"],
                "a cursor of operation list, where find is called",
            ),
            (
                ["erp", "list", "v2", "v3"],
                "a cursor of contract version v1, where v2 is called",
            ),
            (["erp", "list", "v1", "v4"], "before the upstream changed"),
        ] {
            let refused = sealer(&key, parts).open(&sealed).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        let later = Sealer {
            revision: "r2".to_owned(),
            ..sealer(&key, own)
        };
        assert_eq!(
            later.open(&sealed).as_deref(),
            Ok("abc\"ä/9"),
            "a corrected mapping goes on"
        );
    }

    #[test]
    fn a_changed_or_foreign_cursor_is_refused_whatever_it_looks_like() {
        let key = Arc::new(CursorKey::random());
        let own = sealer(&key, ["erp", "list", "v1", "v3"]);
        let sealed = own.seal("abc");
        for position in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            assert!(own.open(std::str::from_utf8(&changed).unwrap()).is_err(), "{position}");
        }
        for foreign in ["", "abc", "AQ", "ä", &sealed[..20], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(own.open(foreign).is_err(), "{foreign}");
        }
        let other = sealer(&Arc::new(CursorKey::random()), ["erp", "list", "v1", "v3"]);
        assert!(other.open(&sealed).is_err());
    }

    #[test]
    fn a_key_is_kept_and_one_that_is_too_short_is_told() {
        let state = tempfile::tempdir().unwrap();
        let one = CursorKeys::default();
        one.keep_in(state.path()).unwrap();
        let again = CursorKeys::default();
        again.keep_in(state.path()).unwrap();
        let parts = ["erp", "list", "v1", "v3"];
        let sealed = sealer(&one.key(), parts).seal("x");
        assert_eq!(sealer(&again.key(), parts).open(&sealed).as_deref(), Ok("x"));
        fs::write(state.path().join(FILE), b"short").unwrap();
        let told = CursorKeys::default().keep_in(state.path()).unwrap_err().to_string();
        assert!(told.contains("cursor.key") && told.contains("at least 32"), "{told}");
    }
}
