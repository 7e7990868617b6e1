//! Which properties are secrets, and what stands in their place when one would be shown. No secret
//! leaves this crate in a text that it makes.

mod words;

use std::borrow::Cow;

/// What stands in place of a secret.
pub const MASK: &str = "******";

/// Parts of keys (lower case, separators removed) whose values are not for showing.
const SECRET_PARTS: [&str; 12] = [
    "secret",
    "password",
    "passwd",
    "token",
    "accesskey",
    "accesskeyid",
    "keytabcontent",
    "credential",
    "privatekey",
    "accountkey",
    "signature",
    "passphrase",
];

/// Whether the value of property `key` must not be shown.
pub fn is_secret(key: &str) -> bool {
    let flat: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    flat == "sas" || flat == "key" || SECRET_PARTS.iter().any(|part| flat.contains(part))
}

/// The value of property `key` as it may be shown.
pub fn mask<'a>(key: &str, value: &'a str) -> &'a str {
    if is_secret(key) { MASK } else { value }
}

/// A location as it may be shown: the password of `scheme://user:password@host` and the values of
/// secret query parameters are masked.
pub fn mask_location(location: &str) -> String {
    let (body, query) = match location.split_once('?') {
        Some((body, query)) => (body, Some(query)),
        None => (location, None),
    };
    let mut out = mask_authority(body);
    if let Some(query) = query {
        let parts: Vec<String> = query
            .split('&')
            .map(|part| match part.split_once('=') {
                Some((key, value)) => format!("{key}={}", mask(key, value)),
                None => part.to_owned(),
            })
            .collect();
        out.push('?');
        out.push_str(&parts.join("&"));
    }
    out
}

/// A message as it may be shown: each location in it is masked, such as the one that an adapter names
/// in the words of its error, and so is each value that stands behind a secret key (`password=…`,
/// `"token": "…"`, `<SignatureProvided>…`), an `Authorization` header and a bearer's token.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    match mask_locations(text) {
        Cow::Borrowed(text) => words::mask_values(text),
        Cow::Owned(text) => Cow::Owned(words::mask_values(&text).into_owned()),
    }
}

fn mask_locations(text: &str) -> Cow<'_, str> {
    let is_location =
        |word: &str| word.contains("://") || (word.contains('?') && word.contains('='));
    if !is_location(text) {
        return Cow::Borrowed(text);
    }
    let masked = text.split_inclusive(char::is_whitespace).map(|word| {
        let bare = word
            .trim_end()
            .trim_end_matches(|ch| ",;.:)'\"".contains(ch));
        match is_location(bare) {
            true => mask_location(bare) + &word[bare.len()..],
            false => word.to_owned(),
        }
    });
    Cow::Owned(masked.collect())
}

fn mask_authority(body: &str) -> String {
    let Some((scheme, rest)) = body.split_once("://") else {
        return body.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}{path}"),
            None => body.to_owned(),
        },
        None => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_known_systems_are_secret_and_their_neighbours_are_not() {
        for key in [
            "password",
            "fs.s3a.secret.key",
            "fs.s3a.access.key",
            "aws.s3.secret_key",
            "AWS_SECRET_KEY",
            "fs.cosn.userinfo.secretKey",
            "fs.oss.accessKeySecret",
            "fs.ks3.AccessKey",
            "kerberos_keytab_content",
            "session_token",
        ] {
            assert!(is_secret(key), "{key}");
            assert_eq!(mask(key, "v"), MASK);
        }
        for key in [
            "username",
            "s3.endpoint",
            "aws.s3.region",
            "kerberos_keytab",
            "s3.role_arn",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn messages_lose_the_secrets_of_the_locations_in_them() {
        assert_eq!(
            mask_text(
                "repository 'r' is no longer at file:///b?sas=hush; bring it back, or  DROP it"
            ),
            "repository 'r' is no longer at file:///b?sas=******; bring it back, or  DROP it"
        );
        assert_eq!(
            mask_text("tried sftp://u:p@h/d and\n/srv?password=p&x=1 too"),
            "tried sftp://u:******@h/d and\n/srv?password=******&x=1 too"
        );
        assert_eq!(mask_text("is it mounted? a = b"), "is it mounted? a = b");
    }

    #[test]
    fn locations_lose_passwords_and_nothing_else() {
        assert_eq!(
            mask_location("sftp://u:p@w@h:22/d"),
            "sftp://u:******@h:22/d"
        );
        assert_eq!(mask_location("sftp://u@h/d"), "sftp://u@h/d");
        assert_eq!(mask_location("s3://bucket/a:b@c"), "s3://bucket/a:b@c");
        assert_eq!(mask_location("/srv/backup"), "/srv/backup");
        assert_eq!(
            mask_location("az://c/p?sas=abc&x=1"),
            "az://c/p?sas=******&x=1"
        );
    }
}
