//! Checks of names: what is listed, in which order, by which pages, and names that are hard on an
//! adapter.

use super::{Check, Finding, Subject, class_of, same, truth};
use crate::{ErrorClass, ObjectInfo, PutMode};

pub(super) const CHECKS: &[Check] = &[
    ("odd-names", odd_names),
    ("list-order", list_order),
    ("list-prefixes", list_prefixes),
    ("list-pages", list_pages),
    ("list-while-changing", list_while_changing),
    ("names-below-names", names_below_names),
];

/// Names in their order, with characters on both sides of `/` where a walk by folders goes wrong
/// most easily.
const TREE: [&str; 14] = [
    "!",
    "a",
    "a b",
    "a!/x",
    "a+",
    "a-b/c",
    "a.b",
    "a0/y",
    "a0/z/1",
    "a0/z/2",
    "a0/zz",
    "b/c/d/e/f",
    "~",
    "é",
];

fn plant(subject: &Subject) -> Result<Vec<ObjectInfo>, Finding> {
    // Planted from the end, so that no order of arrival helps.
    for (len, text) in TREE.iter().enumerate().rev() {
        subject.create(&subject.name(text)?, &vec![b'x'; len])?;
    }
    let named = TREE.iter().enumerate().map(|(len, text)| {
        Ok(ObjectInfo {
            name: subject.name(text)?,
            len: len as u64,
        })
    });
    named.collect()
}

fn odd_names(subject: &Subject) -> Result<(), Finding> {
    let long = "n".repeat(200);
    let deep = ["d"; 100].join("/");
    let odd = [
        "with space",
        " lead",
        "trail ",
        "ü/日本語/🦀",
        "e\u{301}",
        "\u{e9}",
        "a%2Fb",
        "%",
        "a?b=c&d#e",
        "a+b",
        "a:b",
        "*",
        "[x]",
        "'\"`",
        "$HOME",
        "-rf",
        ".hidden",
        "...",
        "..x",
        "UPPER",
        "upper",
        long.as_str(),
        deep.as_str(),
    ];
    for (n, text) in odd.iter().enumerate() {
        subject.create(&subject.name(text)?, &[n as u8])?;
    }
    for (n, text) in odd.iter().enumerate() {
        subject.expect(&subject.name(text)?, &[n as u8])?;
    }
    let mut expected = Vec::new();
    for text in odd {
        expected.push(ObjectInfo {
            name: subject.name(text)?,
            len: 1,
        });
    }
    expected.sort();
    same(
        "the list of odd names",
        &subject.list(&subject.prefix, 1000)?,
        &expected,
    )
}

fn list_order(subject: &Subject) -> Result<(), Finding> {
    let planted = plant(subject)?;
    same("the list", &subject.list(&subject.prefix, 1000)?, &planted)
}

fn list_prefixes(subject: &Subject) -> Result<(), Finding> {
    let planted = plant(subject)?;
    let prefixes = [
        "",
        "a",
        "a0",
        "a0/",
        "a0/z",
        "a0/z/",
        "a0/z/1",
        "a0/z/1/",
        "b/c/d",
        "b/c/d/e/f",
        "b/c/d/e/f/g",
        "q",
        "q/r/",
        "a//",
        "a/",
        "a/../",
        "é",
    ];
    for text in prefixes {
        let prefix = format!("{}{text}", subject.prefix);
        let expected: Vec<_> = planted
            .iter()
            .filter(|o| o.name.as_str().starts_with(&prefix))
            .cloned()
            .collect();
        same(
            &format!("the list of {text:?}"),
            &subject.list(&prefix, 1000)?,
            &expected,
        )?;
    }
    // The suite's own prefix without its "/" is a prefix as well.
    let cut = &subject.prefix[..subject.prefix.len() - 1];
    same(
        "the list of a cut prefix",
        &subject.list(cut, 1000)?,
        &planted,
    )?;
    class_of(
        "a page of 0",
        subject.broker.list(&subject.ctx, "", None, 0),
        ErrorClass::Invalid,
    )
}

fn list_pages(subject: &Subject) -> Result<(), Finding> {
    let planted = plant(subject)?;
    for limit in 1..=planted.len() + 1 {
        same(
            &format!("pages of {limit}"),
            &subject.list(&subject.prefix, limit)?,
            &planted,
        )?;
        let prefix = format!("{}a0", subject.prefix);
        let expected: Vec<_> = planted
            .iter()
            .filter(|o| o.name.as_str().starts_with(&prefix))
            .cloned()
            .collect();
        same(
            &format!("pages of {limit} of a prefix"),
            &subject.list(&prefix, limit)?,
            &expected,
        )?;
    }
    Ok(())
}

fn list_while_changing(subject: &Subject) -> Result<(), Finding> {
    let planted = plant(subject)?;
    let mut left = planted.clone();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = subject
            .broker
            .list(&subject.ctx, &subject.prefix, after.as_ref(), 3)
            .map_err(|error| format!("list: {error}"))?;
        // What was listed goes away, the last of the page included: the next page must find its
        // place all the same.
        for object in &page.objects {
            subject
                .broker
                .delete(&subject.ctx, &object.name)
                .map_err(|error| format!("delete: {error}"))?;
            left.retain(|other| other != object);
        }
        seen.extend(page.objects);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    same("pages while their objects are deleted", &seen, &planted)?;
    same("what is left", &left, &Vec::new())
}

fn names_below_names(subject: &Subject) -> Result<(), Finding> {
    let (above, below) = (subject.name("x/y")?, subject.name("x/y/z")?);
    for (first, second) in [(&above, &below), (&below, &above)] {
        subject.create(first, b"first")?;
        for mode in [PutMode::CreateIfAbsent, PutMode::Overwrite] {
            let put = subject.broker.put(
                &subject.ctx,
                second,
                &crate::BytesSource::from("second"),
                mode,
            );
            match put {
                Ok(_) => subject.expect(second, b"second")?,
                Err(error) => same(
                    "the class of the refusal",
                    &error.class(),
                    &ErrorClass::Invalid,
                )?,
            }
            subject.expect(first, b"first")?;
        }
        let stat = subject
            .broker
            .stat(&subject.ctx, second)
            .map_err(|error| format!("stat: {error}"))?;
        truth(stat.is_none_or(|info| info.len == 6), || {
            "a folder was taken for an object".to_owned()
        })?;
        subject.clean()?;
    }
    Ok(())
}
