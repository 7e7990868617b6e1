//! Who may run what, until users exist: `root` is ADMIN, nobody else is.

use crate::error::{Code, SqlError};
use crate::statement::Statement;

/// The one principal with every privilege.
pub const ADMIN: &str = "root";

/// Whether `user` may run `statement`. Everything about repositories, brokers, backups and
/// restores, SHOW included, the views of partitions and tablets that serve to plan them, and
/// changes of the cluster need ADMIN.
///
/// # Errors
/// `ACCESS_DENIED` (5203) with the user and the statement.
pub fn check(user: &str, statement: &Statement) -> Result<(), SqlError> {
    if user == ADMIN || !needs_admin(statement) {
        return Ok(());
    }
    let text = format!(
        "access denied: user '{}' may not run {}, expected a user with the ADMIN privilege \
         ({ADMIN})",
        user.escape_debug(),
        statement.name()
    );
    Err(SqlError::new(Code::AccessDenied, text))
}

fn needs_admin(statement: &Statement) -> bool {
    match statement {
        Statement::CreateRepository(_)
        | Statement::DropRepository { .. }
        | Statement::ShowRepositories(_)
        | Statement::ShowCreateRepository { .. }
        | Statement::AddBroker { .. }
        | Statement::DropBroker { .. }
        | Statement::ShowBroker(_)
        | Statement::Backup(_)
        | Statement::ShowBackup(_)
        | Statement::CancelBackup { .. }
        | Statement::Restore(_)
        | Statement::ShowRestore(_)
        | Statement::CancelRestore { .. }
        | Statement::ShowSnapshot(_)
        | Statement::ShowJobEvents { .. }
        | Statement::AddBackend { .. }
        | Statement::DropBackend { .. }
        | Statement::ShowPartitions { .. }
        | Statement::ShowTablet { .. }
        | Statement::ShowTablets { .. } => true,
        Statement::ShowBackends(_)
        | Statement::CreateDatabase { .. }
        | Statement::DropDatabase { .. }
        | Statement::Use { .. }
        | Statement::ShowDatabases(_)
        | Statement::CreateTable(_)
        | Statement::DropTable { .. }
        | Statement::TruncateTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowCreateTable { .. }
        | Statement::AddPartition { .. }
        | Statement::DropPartition { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_one;

    fn denied(text: &str) -> bool {
        let statement = parse_one(text).unwrap().statement;
        assert!(check("root", &statement).is_ok());
        match check("bob", &statement) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!((error.number, error.sqlstate), (5203, "42000"));
                assert!(
                    error.message.contains("'bob'") && error.message.contains(statement.name())
                );
                true
            }
        }
    }

    #[test]
    fn only_root_may_run_or_see_backups() {
        for text in [
            "CREATE REPOSITORY r WITH BROKER ON LOCATION 'file:///x'",
            "DROP REPOSITORY r",
            "SHOW REPOSITORIES",
            "SHOW CREATE REPOSITORY FOR r",
            "SHOW BROKER",
            "ALTER SYSTEM ADD BROKER b 'h:1'",
            "BACKUP SNAPSHOT d.l TO r",
            "SHOW BACKUP",
            "CANCEL BACKUP",
            "RESTORE SNAPSHOT d.l FROM r",
            "SHOW RESTORE",
            "CANCEL RESTORE",
            "SHOW SNAPSHOT ON r",
            "SHOW JOB EVENTS FOR 10001",
            "SHOW PARTITIONS FROM t",
            "SHOW TABLET FROM t",
            "ALTER SYSTEM DROP BACKEND 'b'",
        ] {
            assert!(denied(text), "{text}");
        }
        for text in [
            "USE d",
            "SHOW TABLES",
            "CREATE DATABASE d",
            "SHOW DATABASES",
        ] {
            assert!(!denied(text), "{text}");
        }
    }
}
