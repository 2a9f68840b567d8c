//! Header fields as stores keep them: for each the lengths of name and value (32 bits, big-endian), then both.

/// Why a column holds no header fields.
pub(super) const CUT: &str = "the stored header fields are cut";

pub(super) fn encode(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        for part in [name.as_bytes(), value.as_slice()] {
            // A header of 4 GiB cannot get through the listener's limits; cut rather than shift all that follow.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(&part[..length as usize]);
        }
    }
    encoded
}

/// `None` where they are cut, or a name is not UTF-8.
pub(super) fn decode(mut rest: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name = std::str::from_utf8(part(&mut rest)?).ok()?.to_owned();
        headers.push((name, part(&mut rest)?.to_vec()));
    }
    Some(headers)
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_went_in() {
        let headers = vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("x-odd".to_owned(), vec![0, 255, b'\n']),
            ("x-odd".to_owned(), vec![]),
        ];
        assert_eq!(decode(&encode(&headers)), Some(headers));
        assert_eq!(decode(&[]), Some(vec![]));
    }

    #[test]
    fn cut_headers_are_an_error() {
        let encoded = encode(&[("a".to_owned(), b"b".to_vec())]);
        for cut in 1..encoded.len() {
            assert_eq!(decode(&encoded[..cut]), None);
        }
    }
}
