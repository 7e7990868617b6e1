//! One page of a listing, in the byte order of whole names. Folders are read one at a time and
//! sorted with `/` behind their name, which makes a walk in depth come out in the order of names;
//! what lies outside the prefix or before the page is not entered.

use rustix::fs::{self, AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::errno::{Doing, failed};
use super::folders::{Folder, Folders, Walk};
use crate::name::TEMPORARY_PREFIX;
use crate::{Context, Error, ObjectInfo, ObjectName, Page, PageToken};

/// The page of at most `limit` objects that begin with `prefix`, after `after`.
pub(super) fn page(
    ctx: &Context,
    folders: &Folders,
    prefix: &str,
    after: Option<&PageToken>,
    limit: usize,
) -> Result<Page, Error> {
    // The folder part of the prefix is walked to directly. A prefix that is no path names nothing.
    let (start, _) = prefix.rsplit_once('/').unwrap_or(("", ""));
    if !start.is_empty() && ObjectName::parse(start).is_err() {
        return Ok(Page::default());
    }
    let Some(folder) = folders.walk(Some(start).filter(|s| !s.is_empty()), Walk::Look, prefix)?
    else {
        return Ok(Page::default());
    };
    let mut lister = Lister {
        ctx,
        prefix,
        after: after.map_or("", PageToken::as_str),
        limit,
        page: Page::default(),
    };
    let path = if start.is_empty() {
        String::new()
    } else {
        format!("{start}/")
    };
    lister.folder(&folder, &path)?;
    Ok(lister.page)
}

/// An entry by its full name; a folder's ends with `/`.
struct Entry {
    path: String,
    kind: FileType,
}

struct Lister<'a> {
    ctx: &'a Context,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    page: Page,
}

impl Lister<'_> {
    fn folder(&mut self, folder: &Folder, path: &str) -> Result<(), Error> {
        self.ctx.check()?;
        let mut entries = self
            .entries(folder, path)
            .map_err(|errno| failed(errno, Doing::Read, "list folder", path))?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        for entry in entries {
            if self.page.next.is_some() {
                return Ok(());
            }
            let leaf = entry.path[path.len()..].trim_end_matches('/');
            match entry.kind {
                FileType::Directory => match folder.open(leaf) {
                    Ok(below) => self.folder(&below, &entry.path)?,
                    // Removed, or replaced, since the folder was read.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => {
                        return Err(failed(errno, Doing::Read, "list folder", &entry.path));
                    }
                },
                _ => self.object(folder, leaf, &entry.path)?,
            }
        }
        Ok(())
    }

    /// The entries of one folder that can matter to this page, in no order.
    fn entries(&self, folder: &Folder, path: &str) -> Result<Vec<Entry>, Errno> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            // What is not UTF-8 was not put here, and no name can say it.
            let Ok(leaf) = entry.file_name().to_str() else {
                continue;
            };
            if leaf == "." || leaf == ".." || leaf.starts_with(TEMPORARY_PREFIX) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match fs::statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno),
                },
                kind => kind,
            };
            let wanted = match kind {
                FileType::Directory => self.wants_folder(&format!("{path}{leaf}/")),
                FileType::RegularFile => self.wants_object(&format!("{path}{leaf}")),
                _ => {
                    log::debug!("{path:?}{leaf:?} is no plain file and is not listed");
                    false
                }
            };
            if wanted {
                let slash = if kind == FileType::Directory { "/" } else { "" };
                entries.push(Entry {
                    path: format!("{path}{leaf}{slash}"),
                    kind,
                });
            }
        }
        Ok(entries)
    }

    fn wants_object(&self, path: &str) -> bool {
        path.starts_with(self.prefix) && path > self.after
    }

    /// Whether anything below `path`, which ends with `/`, can be on the page.
    fn wants_folder(&self, path: &str) -> bool {
        let in_prefix = path.starts_with(self.prefix) || self.prefix.starts_with(path);
        in_prefix && (path > self.after || self.after.starts_with(path))
    }

    fn object(&mut self, folder: &Folder, leaf: &str, path: &str) -> Result<(), Error> {
        // A name outside the rules was not put here.
        let Ok(name) = ObjectName::parse(path) else {
            return Ok(());
        };
        let stat = match fs::statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno, Doing::Read, "look at", path)),
        };
        if self.page.objects.len() == self.limit {
            self.page.next = self
                .page
                .objects
                .last()
                .map(|last| PageToken::new(last.name.as_str()));
            return Ok(());
        }
        self.page.objects.push(ObjectInfo {
            name,
            len: u64::try_from(stat.st_size).unwrap_or(0),
        });
        Ok(())
    }
}
