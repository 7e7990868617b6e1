//! The local broker on a real folder: what the suite of the contract cannot see from outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::{BrokerExt, ErrorClass};

fn open(folder: &TempDir) -> LocalBroker {
    LocalBroker::open(folder.path()).expect("open")
}

fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).expect("name")
}

fn create(broker: &LocalBroker, text: &str, bytes: &[u8]) -> Result<PutOutcome, ErrorClass> {
    let put = broker.put_bytes(&Context::new(), &name(text), bytes, PutMode::CreateIfAbsent);
    put.map_err(|error| error.class())
}

/// All plain files below a folder, temporary ones included.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(
                path.file_name()
                    .expect("named")
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    found
}

/// Gives one piece, does something, and gives the rest.
struct Meanwhile<'a>(&'a [u8], &'a (dyn Fn() + Sync));

impl Source for Meanwhile<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        visit(&self.0[..1])?;
        (self.1)();
        visit(&self.0[1..])
    }
}

#[test]
fn an_object_is_a_file_of_its_name_and_nothing_else_stays() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    assert_eq!(create(&broker, "a/b/c", b"bytes"), Ok(PutOutcome::Created));
    assert_eq!(create(&broker, "a/b/c", b"other"), Ok(PutOutcome::Exists));
    broker
        .put_bytes(
            &Context::new(),
            &name("a/b/c"),
            b"third",
            PutMode::Overwrite,
        )
        .expect("overwrite");
    assert_eq!(
        fs::read(folder.path().join("a/b/c")).expect("file"),
        b"third"
    );
    assert_eq!(
        fs::metadata(folder.path().join("a/b/c"))
            .expect("file")
            .nlink(),
        1
    );
    assert_eq!(files(folder.path()), ["c"]);
}

#[test]
fn a_put_under_way_shows_neither_its_name_nor_its_temporary_file() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    let looked = AtomicBool::new(false);
    let look = || {
        assert_eq!(broker.list_all(&Context::new(), "").expect("list"), []);
        assert_eq!(
            broker.stat(&Context::new(), &name("a/b")).expect("stat"),
            None
        );
        let present = files(folder.path());
        assert!(
            present.len() == 1 && present[0].starts_with(".tmp-"),
            "{present:?}"
        );
        looked.store(true, Ordering::SeqCst);
    };
    let put = broker.put(
        &Context::new(),
        &name("a/b"),
        &Meanwhile(b"bytes", &look),
        PutMode::CreateIfAbsent,
    );
    assert_eq!(put.expect("put"), PutOutcome::Created);
    assert!(looked.into_inner());
}

#[test]
fn a_put_that_loses_the_name_while_it_writes_answers_exists() {
    let folder = TempDir::new().expect("folder");
    let (broker, rival) = (open(&folder), open(&folder));
    let race = || assert_eq!(create(&rival, "a/b", b"rival"), Ok(PutOutcome::Created));
    let put = broker.put(
        &Context::new(),
        &name("a/b"),
        &Meanwhile(b"ours", &race),
        PutMode::CreateIfAbsent,
    );
    assert_eq!(put.expect("put"), PutOutcome::Exists);
    assert_eq!(fs::read(folder.path().join("a/b")).expect("file"), b"rival");
    assert_eq!(files(folder.path()), ["b"]);
}

#[test]
fn a_folder_removed_under_a_put_is_an_error_that_heals() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    let remove = || fs::remove_dir_all(folder.path().join("a")).expect("remove");
    for mode in [PutMode::CreateIfAbsent, PutMode::Overwrite] {
        let put = broker.put(
            &Context::new(),
            &name("a/b"),
            &Meanwhile(b"ours", &remove),
            mode,
        );
        assert_eq!(put.expect_err("removed").class(), ErrorClass::Retry);
    }
    assert_eq!(create(&broker, "a/b", b"again"), Ok(PutOutcome::Created));
}

#[test]
fn a_folder_moved_away_is_not_written_to() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    create(&broker, "a/1", b"x").expect("put");
    fs::rename(folder.path().join("a"), folder.path().join("moved")).expect("rename");
    create(&broker, "a/2", b"y").expect("put");
    assert!(folder.path().join("a/2").exists() && !folder.path().join("moved/2").exists());
}

#[test]
fn links_are_not_followed() {
    let (folder, outside) = (
        TempDir::new().expect("folder"),
        TempDir::new().expect("outside"),
    );
    fs::write(outside.path().join("secret"), b"secret").expect("write");
    let broker = open(&folder);
    create(&broker, "real/object", b"x").expect("put");
    symlink(outside.path(), folder.path().join("out")).expect("link");
    symlink("real", folder.path().join("in")).expect("link");
    symlink(
        outside.path().join("secret"),
        folder.path().join("real/leak"),
    )
    .expect("link");
    symlink("nowhere", folder.path().join("dangling")).expect("link");
    let ctx = Context::new();
    for text in [
        "out/secret",
        "out/new",
        "in/object",
        "real/leak",
        "dangling",
    ] {
        let name = name(text);
        let refused = |result: Result<(), Error>, what| {
            let error = result.expect_err(what);
            assert_eq!(error.class(), ErrorClass::Invalid, "{what} {text}: {error}");
            assert!(error.message().contains("link"), "{error}");
        };
        for mode in [PutMode::CreateIfAbsent, PutMode::Overwrite] {
            refused(
                broker.put_bytes(&ctx, &name, b"new", mode).map(|_| ()),
                "put",
            );
        }
        refused(broker.stat(&ctx, &name).map(|_| ()), "stat");
        refused(broker.get(&ctx, &name, 99).map(|_| ()), "get");
        refused(
            broker.get_range(&ctx, &name, 0..1, &mut |_| Ok(())),
            "get_range",
        );
        refused(broker.delete(&ctx, &name), "delete");
        refused(broker.settle(&ctx, &[name]), "settle");
    }
    let listed: Vec<_> = broker
        .list_all(&ctx, "")
        .expect("list")
        .into_iter()
        .map(|o| o.name.to_string())
        .collect();
    assert_eq!(listed, ["real/object"]);
    assert_eq!(files(outside.path()), ["secret"]);
    assert_eq!(
        fs::read(outside.path().join("secret")).expect("file"),
        b"secret"
    );
}

#[test]
fn a_root_reached_by_a_link_is_the_users_word() {
    let folder = TempDir::new().expect("folder");
    fs::create_dir(folder.path().join("real")).expect("folder");
    symlink("real", folder.path().join("root")).expect("link");
    let broker = LocalBroker::open(&folder.path().join("root")).expect("open");
    assert_eq!(create(&broker, "a", b"x"), Ok(PutOutcome::Created));
    assert!(folder.path().join("real/a").exists());
}

#[test]
fn a_root_that_is_relative_or_no_folder_is_refused() {
    let folder = TempDir::new().expect("folder");
    fs::write(folder.path().join("file"), b"x").expect("write");
    for root in [
        Path::new("relative"),
        &folder.path().join("file"),
        &folder.path().join("file/below"),
    ] {
        assert_eq!(
            LocalBroker::open(root).expect_err("refused").class(),
            ErrorClass::Invalid,
            "{}",
            root.display()
        );
    }
}

#[test]
fn a_missing_root_holds_nothing_and_is_made_by_the_first_put() {
    let folder = TempDir::new().expect("folder");
    let root = folder.path().join("x/y/z");
    let (broker, ctx) = (LocalBroker::open(&root).expect("open"), Context::new());
    assert_eq!(broker.list_all(&ctx, "").expect("list"), []);
    assert_eq!(broker.stat(&ctx, &name("a")).expect("stat"), None);
    broker.delete(&ctx, &name("a/b")).expect("delete");
    assert_eq!(
        broker.sweep(&ctx, Duration::ZERO).expect("sweep"),
        Swept::default()
    );
    assert!(!folder.path().join("x").exists(), "reading makes nothing");
    assert_eq!(create(&broker, "a/b", b"x"), Ok(PutOutcome::Created));
    assert!(root.join("a/b").exists());
}

#[test]
fn special_files_and_long_names_are_refused() {
    let folder = TempDir::new().expect("folder");
    let _socket =
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("socket");
    let broker = open(&folder);
    assert_eq!(
        broker
            .get(&Context::new(), &name("socket"), 9)
            .expect_err("refused")
            .class(),
        ErrorClass::Invalid
    );
    assert_eq!(create(&broker, "socket", b"x"), Err(ErrorClass::Invalid));
    assert_eq!(
        create(&broker, &"n".repeat(256), b"x"),
        Err(ErrorClass::Invalid)
    );
    assert_eq!(
        create(&broker, &format!("{}/a", "n".repeat(256)), b"x"),
        Err(ErrorClass::Invalid)
    );
    assert_eq!(broker.list_all(&Context::new(), "").expect("list"), []);
}

#[test]
fn a_folder_that_forbids_writing_is_denied() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    create(&broker, "a/1", b"x").expect("put");
    let set = |mode| {
        fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(mode))
            .expect("mode")
    };
    set(0o500);
    // Root may write anywhere; the check is for everybody else.
    let free = fs::write(folder.path().join("a/probe"), b"").is_ok();
    if !free {
        assert_eq!(create(&broker, "a/2", b"y"), Err(ErrorClass::Denied));
        assert_eq!(
            broker
                .delete(&Context::new(), &name("a/1"))
                .expect_err("denied")
                .class(),
            ErrorClass::Denied
        );
    }
    set(0o700);
}

#[test]
fn a_full_disk_is_said_to_be_full() {
    // Writes to this device always find no space.
    let Ok(full) = rustix::fs::open(
        "/dev/full",
        rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::empty(),
    ) else {
        return;
    };
    let error = write::put_at(&full, &name("a"), 0, b"x").expect_err("full");
    assert_eq!(error.class(), ErrorClass::Full, "{error}");
}

#[test]
fn a_delete_removes_the_folders_it_empties_but_not_the_root() {
    let folder = TempDir::new().expect("folder");
    let (broker, ctx) = (open(&folder), Context::new());
    create(&broker, "a/b/c/1", b"x").expect("put");
    create(&broker, "a/2", b"y").expect("put");
    broker.delete(&ctx, &name("a/b/c/1")).expect("delete");
    assert!(!folder.path().join("a/b").exists() && folder.path().join("a/2").exists());
    broker.delete(&ctx, &name("a/2")).expect("delete");
    assert!(!folder.path().join("a").exists() && folder.path().exists());
}

#[test]
fn what_the_dead_left_goes_when_their_work_is_taken_up_and_the_living_are_spared() {
    let folder = TempDir::new().expect("folder");
    for name in ["a/.tmp-1-0", "b/.tmp-1-1", "c/.tmp-1-2", "d/.tmp-1-3"] {
        fs::create_dir_all(folder.path().join(name).parent().expect("parent")).expect("make");
        fs::write(folder.path().join(name), b"left").expect("write");
    }
    let living = fs::File::create(folder.path().join("a/.tmp-1-4")).expect("create");
    living.try_lock().expect("lock");
    let (broker, ctx) = (open(&folder), Context::new());
    create(&broker, "a/object", b"x").expect("put");
    broker.delete(&ctx, &name("b/object")).expect("delete");
    broker.stat(&ctx, &name("c/object")).expect("stat");
    broker.list_all(&ctx, "d/").expect("list");
    let mut left: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .filter_map(|dir| fs::read_dir(folder.path().join(dir)).ok())
        .flatten()
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    left.sort();
    assert_eq!(left, [".tmp-1-2", ".tmp-1-3", ".tmp-1-4", "object"]);
    assert!(!folder.path().join("b").exists(), "an emptied folder goes");
}

#[test]
fn a_put_of_what_is_there_clears_the_folder_of_what_the_dead_left() {
    let folder = TempDir::new().expect("folder");
    create(&open(&folder), "a/object", b"x").expect("put");
    let object = folder.path().join("a/object");
    let left = folder.path().join("a/.tmp-1-0");
    // Killed between the link to the name and the removal of the temporary one.
    fs::hard_link(&object, &left).expect("link");
    let outcome = create(&open(&folder), "a/object", b"x").expect("put");
    assert_eq!(outcome, PutOutcome::Exists);
    assert!(!left.exists() && object.exists());
}

#[test]
fn settling_what_another_has_put_clears_the_folder_of_what_the_dead_left() {
    let folder = TempDir::new().expect("folder");
    create(&open(&folder), "a/object", b"x").expect("put");
    // Killed while it put the same object, which another put meanwhile: nobody puts it again.
    let left = folder.path().join("a/.tmp-1-0");
    fs::write(&left, b"x").expect("write");
    let settled = open(&folder).settle(&Context::new(), &[name("a/object")]);
    settled.expect("settle");
    assert!(!left.exists() && folder.path().join("a/object").exists());
}

#[test]
fn a_sweep_takes_what_the_dead_left_and_spares_the_living() {
    let folder = TempDir::new().expect("folder");
    let (broker, ctx) = (open(&folder), Context::new());
    create(&broker, "a/object", b"x").expect("put");
    fs::write(folder.path().join("a/.tmp-1-0"), b"left").expect("write");
    fs::hard_link(
        folder.path().join("a/object"),
        folder.path().join("a/.tmp-1-1"),
    )
    .expect("link");
    assert_eq!(
        broker
            .sweep(&ctx, Duration::from_secs(3600))
            .expect("sweep"),
        Swept::default(),
        "too young"
    );
    let sweep = || {
        let swept = broker.sweep(&ctx, Duration::ZERO).expect("sweep");
        assert_eq!(swept, Swept { files: 2, bytes: 5 });
    };
    let put = broker.put(
        &ctx,
        &name("a/living"),
        &Meanwhile(b"bytes", &sweep),
        PutMode::CreateIfAbsent,
    );
    assert_eq!(put.expect("put"), PutOutcome::Created);
    let listed: Vec<_> = broker
        .list_all(&ctx, "")
        .expect("list")
        .into_iter()
        .map(|o| (o.name.to_string(), o.len))
        .collect();
    assert_eq!(
        listed,
        [("a/living".to_owned(), 5), ("a/object".to_owned(), 1)]
    );
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn what_was_never_put_here_is_not_listed() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    use std::os::unix::ffi::OsStrExt;
    fs::write(
        folder
            .path()
            .join(std::ffi::OsStr::from_bytes(b"not\xffutf8")),
        b"x",
    )
    .expect("write");
    fs::write(folder.path().join("new\nline"), b"x").expect("write");
    fs::create_dir_all(folder.path().join("empty/folder")).expect("folder");
    fs::write(folder.path().join("foreign"), b"x").expect("write");
    let listed = broker.list_all(&Context::new(), "").expect("list");
    assert_eq!(
        listed,
        [ObjectInfo {
            name: name("foreign"),
            len: 1
        }]
    );
}

#[test]
fn settle_of_what_is_not_there_is_missing() {
    let folder = TempDir::new().expect("folder");
    let broker = open(&folder);
    create(&broker, "a/1", b"x").expect("put");
    let error = broker
        .settle(&Context::new(), &[name("a/1"), name("a/2")])
        .expect_err("missing");
    assert_eq!(error.class(), ErrorClass::Missing);
    assert!(error.message().contains("a/2"), "{error}");
}
